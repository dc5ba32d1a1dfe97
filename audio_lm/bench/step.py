"""Compare our training step with Hugging Face's, on the same clips with the same weights.

A step is log-mel, forward, backward and AdamW. Both models alternate in one process, and the ratio of their times is
reported. Losses and gradients are compared first, because the ratio is meaningful only for the same computation.
"""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from audio_lm.bench.batches import Batch, make_batches
from audio_lm.bench.flops import step_flops
from audio_lm.bench.memory import peak_bytes, saved_bytes
from audio_lm.bench.peer import NOT_LEARNED, Peer, PeerBatch, build_peer, values_by_peer_name
from audio_lm.bench.roofline import clock, measure_rates, step_phases
from audio_lm.bench.time_groups import time_shares
from audio_lm.common.audio_units import SAMPLES_PER_SECOND
from audio_lm.common.errors import RecipeError, unknown
from audio_lm.common.packed_batch import PackedBatch
from audio_lm.common.protocols import Factory
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.build import build_model
from audio_lm.model.config import EncoderConfig, LanguageModelConfig, LoraConfig, ModelConfig
from audio_lm.model.memory_estimate import step_size
from audio_lm.model.weights.part_names import part_of

SMALL = ModelConfig(
    encoder=EncoderConfig(num_mels=128, width=256, num_layers=4, num_heads=4, mlp_width=1024),
    language_model=LanguageModelConfig(
        settings={
            "hidden_size": 256,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "intermediate_size": 704,
            "max_position_embeddings": 2048,
        }
    ),
)
"""A model that a laptop can time in minutes."""

STAGES: dict[str, tuple[str, ...]] = {
    "encoder": ("encoder", "projector"),
    "llm": ("language_model",),
    "lora": ("projector", "language_model_lora"),
    "all": ("encoder", "projector", "language_model"),
}
"""Stage -> trained parts; the others are frozen, in both models."""

MEMORY_BATCHES = 2  # memory does not vary from run to run
TINY = 1e-30
TOLERANCE = 1e-4  # maximum relative difference of losses and gradients, in 32 bits
TOLERANCE_IN_16_BITS = 0.1


@dataclass(frozen=True)
class StepFigures:
    """Figures of our model and of Hugging Face's, for one model, vocabulary and stage."""

    stage: str
    num_ids: int
    """Vocabulary size."""

    clips_per_step: int
    mean_clip_s: float
    """Mean length of the timed clips, in seconds."""

    parameters: dict[str, int]
    """Number of weights of every part."""

    peer_batch: int
    """Batch size of Hugging Face's model, in clips."""

    ratio: float
    """Hugging Face's seconds over ours."""

    ours_s: float
    theirs_s: float
    """Seconds per step: CPU time on a CPU, wall-clock time on a GPU."""

    saved_ratio: float
    """Hugging Face's bytes saved for the backward pass over ours."""

    ours_saved_bytes: int
    theirs_saved_bytes: int

    peak_ratio: float
    """Hugging Face's peak memory over ours, both without weights and optimizer state."""

    ours_peak_bytes: int
    theirs_peak_bytes: int

    planned_peak_bytes: int
    """Peak memory of our model as estimated by ``audio-lm plan``."""

    audio_s_per_s: float
    """Seconds of audio per second, of our model."""

    useful_flops_per_s: float
    """Operations of our model from closed formulas, per second."""

    useful_mfu: float
    """``useful_flops_per_s`` as a fraction of the rate of a large matrix product on this machine."""

    roofline_share: float
    """Shortest possible time of our step on this machine over the measured time; see ``bench.roofline``."""

    roofline_s: dict[str, float]
    """Shortest possible seconds of each phase of our step."""

    matrix_flops_per_s: float
    copy_bytes_per_s: float
    """Rates of a large matrix product and of a large copy on this machine."""

    time_shares: dict[str, float]
    """Share of each kind of operation in our step, from torch's profiler."""

    loss_difference: float
    gradient_difference: float
    """Relative difference; of gradients, the largest over all trained weights."""


@dataclass(frozen=True)
class Bench:
    """Settings of a comparison."""

    model: ModelConfig = SMALL
    stage: str = "encoder"
    num_ids: int = 32_000
    """Vocabulary size."""

    clips: int = 4
    """Clips per step, one pack of our model."""

    peer_batch: int = 4
    """Batch size of Hugging Face's model, in clips; a step accumulates gradients over the batches it needs."""

    batches: int = 4
    rounds: int = 3
    device: str = "cpu"
    compiled: bool = False
    """Compile the layers of our model with ``torch.compile``."""

    def __post_init__(self) -> None:
        """Reject an unknown stage."""
        if self.stage not in STAGES:
            raise RecipeError(unknown("stage", self.stage, list(STAGES), see="audio-lm bench step --help"))


class LossesOf(Protocol):
    """Losses of one step, each computed when its backward pass is due."""

    def __call__(self, batch: Batch, /) -> list[Factory[Tensor]]:
        """Losses of the rows of a batch."""


class Side:
    """One side of the comparison: a model, its losses, and AdamW.

    Args:
        losses: gives the loss functions of a batch, one per micro-batch; their sum is the mean over learned tokens.
    """

    def __init__(self, model: nn.Module, losses: LossesOf, device: torch.device) -> None:
        self.model = model
        self.losses = losses
        self.device = device
        self.trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, lr=1e-4, fused=True)

    def gradients(self, batch: Batch) -> float:
        """Run the forward and backward pass; return the loss."""
        total = 0.0
        for loss_of in self.losses(batch):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
                loss = loss_of()
            loss.backward()
            total += float(loss.detach())
        return total

    def seconds(self, batch: Batch) -> float:
        """Run and time a whole step; see ``clock``."""
        start = clock(self.device)
        self.step(batch)
        return clock(self.device) - start

    def step(self, batch: Batch) -> None:
        """Run a whole step."""
        self.gradients(batch)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def steps(self, batches: Sequence[Batch]) -> None:
        """Run a step with each batch."""
        for batch in batches:
            self.step(batch)

    def saved_bytes(self, batch: Batch) -> int:
        """Bytes saved for the backward pass, without weights; maximum over micro-batches."""
        weights = list(self.model.state_dict(keep_vars=True).values())
        maximum = 0
        for loss_of in self.losses(batch):
            maximum = max(maximum, saved_bytes(loss_of, weights))
            self.optimizer.zero_grad()
        return maximum

    def peak_bytes(self, batch: Batch) -> int:
        """Peak memory of a step, gradients included, without weights and moments."""
        peak = peak_bytes(lambda: self.gradients(batch), self.device)
        self.optimizer.zero_grad()
        return peak


def bench_step(bench: Bench) -> StepFigures:
    """Compare losses and gradients, then measure memory and time."""
    if bench.device == "cpu":
        torch.set_num_threads(1)
    device = torch.device(bench.device)
    model = build_ours(bench, device)
    peer = build_peer(model, replace(bench.model, lora=lora_of(bench)), audio_id=bench.num_ids - 1)
    batches = make_batches(bench.batches, bench.clips, bench.peer_batch, bench.num_ids, device)
    ours = Side(model, partial(our_losses, model), device)
    theirs = Side(peer.model, partial(their_losses, peer), device)
    if bench.compiled:
        for part in (model.encoder, model.language_model.base_model):
            for layer in part.get_submodule("layers").children():
                layer.compile(dynamic=True)
    loss_difference, gradient_difference = _differences(ours, theirs, batches[0])
    saved = [statistics.mean(map(side.saved_bytes, batches[:MEMORY_BATCHES])) for side in (ours, theirs)]
    peaks = [max(map(side.peak_bytes, batches[:MEMORY_BATCHES])) for side in (ours, theirs)]
    ours_s, theirs_s, ratio = _time_alternating(ours, theirs, batches, bench.rounds)
    batch_seconds = [sum(batch.pack.num_samples) / SAMPLES_PER_SECOND for batch in batches]
    flops = statistics.mean(step_flops(model, batch.pack, STAGES[bench.stage]) for batch in batches)
    rates = measure_rates(device)
    phases = step_phases(model, STAGES[bench.stage], flops=flops, saved_bytes=saved[0])
    roofline_s = {name: phase.seconds(rates) for name, phase in phases.items()}
    return StepFigures(
        stage=bench.stage,
        num_ids=bench.num_ids,
        clips_per_step=bench.clips,
        mean_clip_s=sum(batch_seconds) / len(batch_seconds) / bench.clips,
        parameters=_sizes(model),
        peer_batch=bench.peer_batch,
        ratio=ratio,
        ours_s=ours_s,
        theirs_s=theirs_s,
        saved_ratio=saved[1] / saved[0],
        ours_saved_bytes=int(saved[0]),
        theirs_saved_bytes=int(saved[1]),
        peak_ratio=peaks[1] / peaks[0],
        ours_peak_bytes=peaks[0],
        theirs_peak_bytes=peaks[1],
        planned_peak_bytes=max(planned_peak(bench, model, batch.pack) for batch in batches[:MEMORY_BATCHES]),
        audio_s_per_s=statistics.mean(batch_seconds) / ours_s,
        useful_flops_per_s=flops / ours_s,
        useful_mfu=flops / ours_s / rates.flops_per_s,
        roofline_share=sum(roofline_s.values()) / ours_s,
        roofline_s=roofline_s,
        matrix_flops_per_s=rates.flops_per_s,
        copy_bytes_per_s=rates.bytes_per_s,
        time_shares=time_shares(partial(ours.steps, batches), device),
        loss_difference=loss_difference,
        gradient_difference=gradient_difference,
    )


def our_losses(model: AudioLM, batch: Batch) -> list[Factory[Tensor]]:
    """Losses of our step: one pack, whose loss is the mean over its learned tokens."""
    return [lambda: model.loss(batch.pack, weight=1 / batch.pack.num_learned).total]


def their_losses(peer: Peer, batch: Batch) -> list[Factory[Tensor]]:
    """Losses of Hugging Face's step, one for each padded batch, weighted by its share of the learned tokens."""
    shares = [int((rows.labels != NOT_LEARNED).sum()) / batch.pack.num_learned for rows in batch.rows]
    return [
        partial(_weighted_loss, peer, rows, share) for rows, share in zip(batch.rows, shares, strict=True)
    ]


def _weighted_loss(peer: Peer, rows: PeerBatch, share: float) -> Tensor:
    return peer.loss(rows) * share


def _differences(ours: Side, theirs: Side, batch: Batch) -> tuple[float, float]:
    """Relative differences of losses and of gradients.

    Raises:
        RuntimeError: the two models compute different results.
    """
    losses = ours.gradients(batch), theirs.gradients(batch)
    loss_difference = abs(losses[0] - losses[1]) / losses[1]
    assert isinstance(ours.model, AudioLM)
    our_grads = dict(values_by_peer_name(ours.model, lambda weight: weight.grad))
    their_grads = {
        name: parameter.grad.float()
        for name, parameter in theirs.model.named_parameters()
        if parameter.grad is not None
    }
    gradient_difference = max(
        float((our_grads[name].float() - grad).norm() / grad.norm().clamp(min=TINY))
        for name, grad in their_grads.items()
    )
    for side in (ours, theirs):
        side.optimizer.zero_grad()
    tolerance = TOLERANCE if ours.device.type == "cpu" else TOLERANCE_IN_16_BITS
    if not max(loss_difference, gradient_difference) < tolerance:
        raise RuntimeError(
            f"losses differ by {loss_difference:.1e} and gradients by {gradient_difference:.1e} of their size, expected less "
            f"than {tolerance:g}; times of different computations are not compared"
        )
    return loss_difference, gradient_difference


def _time_alternating(
    ours: Side, theirs: Side, batches: Sequence[Batch], rounds: int
) -> tuple[float, float, float]:
    """Seconds per step of both models, and their ratio: medians over rounds.

    The passes that measured memory were the warm-up; AdamW's first step falls into one round of three.
    """
    our_seconds, their_seconds = list[float](), list[float]()
    for _ in range(rounds):
        pairs = [(ours.seconds(batch), theirs.seconds(batch)) for batch in batches]
        our_seconds.append(statistics.mean(pair[0] for pair in pairs))
        their_seconds.append(statistics.mean(pair[1] for pair in pairs))
    ratios = [b / a for a, b in zip(our_seconds, their_seconds, strict=True)]
    return statistics.median(our_seconds), statistics.median(their_seconds), statistics.median(ratios)


def planned_peak(bench: Bench, model: AudioLM, pack: PackedBatch) -> int:
    """Peak memory for one pack as estimated by ``audio-lm plan``, without weights and moments."""
    size = step_size(
        replace(bench.model, lora=lora_of(bench)),
        _sizes(model),
        STAGES[bench.stage],
        tokens=pack.token_ids.numel(),
        audio_seconds=sum(pack.num_samples) / SAMPLES_PER_SECOND,
        learned_tokens=pack.num_learned,
        num_ids=bench.num_ids,
        is_half=bench.device != "cpu",
    )
    return int(size.total - size.weights)


def lora_of(bench: Bench) -> dict[str, LoraConfig]:
    """Low-rank updates of the stage ``lora``; none in the others."""
    return {"language_model": LoraConfig()} if bench.stage == "lora" else {}


def _sizes(model: AudioLM) -> dict[str, int]:
    sizes: dict[str, int] = defaultdict(int)
    for name, parameter in model.named_parameters():
        sizes[part_of(name)] += parameter.numel()
    return {name: count for name, count in sizes.items() if count}


def build_ours(bench: Bench, device: torch.device) -> AudioLM:
    """Our model with random weights; on a GPU, frozen weights are in 16 bits and trained ones in 32, with autocast."""
    torch.manual_seed(0)
    config = replace(
        bench.model,
        load=None,
        encoder=replace(bench.model.encoder, load=None),
        language_model=replace(bench.model.language_model, load=None),
        lora=lora_of(bench),
    )
    with device:
        model = build_model(config, num_base=bench.num_ids, num_new=0)
    for name, parameter in model.named_parameters():
        is_trained = part_of(name) in STAGES[bench.stage]
        parameter.requires_grad_(is_trained)
        if not is_trained and device.type == "cuda":
            parameter.data = parameter.data.bfloat16()
    return model
