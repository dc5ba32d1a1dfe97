"""A training step of ours beside Hugging Face's, on the same clips with the same weights.

A step is log-mel, forward, backward and AdamW; both take turns in one process, and what is reported
is the ratio of their times. Losses and gradients of both are compared first: a ratio between two
different computations would mean nothing.
"""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from audio_lm.bench.batches import Batch, batches_of
from audio_lm.bench.flops import step_flops
from audio_lm.bench.memory import peak_bytes, saved_bytes
from audio_lm.bench.peer import NOT_LEARNED, Peer, PeerBatch, in_their_names, peer_of
from audio_lm.common.audio_units import SAMPLES_PER_SECOND
from audio_lm.common.errors import RecipeError, unknown
from audio_lm.common.packed_batch import PackedBatch
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
"""What a laptop can time in minutes."""

STAGES: dict[str, tuple[str, ...]] = {
    "encoder": ("encoder", "projector"),
    "llm": ("language_model",),
    "lora": ("projector", "language_model_lora"),
    "all": ("encoder", "projector", "language_model"),
}
"""Which parts learn; the others are frozen, theirs as well."""

SAME_IN_16_BITS = 0.1
TINY = 1e-30
SAME = 1e-4  # relative difference of losses and gradients up to which two steps are one


@dataclass(frozen=True)
class StepFigures:
    """Ours and theirs, of one model, vocabulary and stage."""

    stage: str
    num_ids: int
    clips_per_step: int
    mean_clip_s: float
    """Of the clips that were timed."""

    parameters: dict[str, int]
    """Weights of every part."""

    peer_batch: int
    """Clips Hugging Face's model takes at once."""

    ratio: float
    """Their seconds over ours."""

    ours_s: float
    theirs_s: float
    """Seconds a step; of the processor on a CPU, of the clock on a GPU."""

    saved_ratio: float
    """Their bytes saved for the backward pass over ours."""

    ours_saved_bytes: int
    theirs_saved_bytes: int

    peak_ratio: float
    """Their peak memory beyond weights and optimizer over ours."""

    ours_peak_bytes: int
    theirs_peak_bytes: int

    planned_peak_bytes: int
    """What ``audio-lm plan`` counts for ours."""

    audio_s_per_s: float
    """Of ours."""

    useful_flops_per_s: float
    """Closed-form operations of ours over its seconds."""

    useful_mfu: float
    """The same as a share of what a large matrix product reaches on this machine."""

    loss_difference: float
    gradient_difference: float
    """Relative, the largest over all trained weights; both computed the same."""


@dataclass(frozen=True)
class Bench:
    """What is timed."""

    model: ModelConfig = SMALL
    stage: str = "encoder"
    num_ids: int = 32_000
    clips: int = 4
    """In a step of ours, one pack."""

    peer_batch: int = 4
    """Clips that Hugging Face's model takes at once; a step accumulates as many batches as it needs."""

    batches: int = 4
    rounds: int = 3
    device: str = "cpu"
    compiled: bool = False
    """Layers of ours through ``torch.compile``."""

    def __post_init__(self) -> None:
        """Refuse a stage there is not."""
        if self.stage not in STAGES:
            raise RecipeError(unknown("stage", self.stage, list(STAGES), see="audio-lm bench step --help"))


class Side:
    """One of the two: a model, its losses, and AdamW.

    Args:
        losses: of a batch, one function for each micro-batch; they add up to the mean over the learned tokens.
    """

    def __init__(
        self, model: nn.Module, losses: Callable[[Batch], list[Callable[[], Tensor]]], device: torch.device
    ) -> None:
        self.model = model
        self.losses = losses
        self.device = device
        self.trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, lr=1e-4, fused=True)

    def gradients(self, batch: Batch) -> float:
        """Forward and backward; gives the loss."""
        total = 0.0
        for loss_of in self.losses(batch):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
                loss = loss_of()
            loss.backward()
            total += float(loss.detach())
        return total

    def seconds(self, batch: Batch) -> float:
        """A whole step; of the processor on a CPU, of the clock on a GPU."""
        self._wait()
        began = clock(self.device)
        self.gradients(batch)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._wait()
        return clock(self.device) - began

    def saved_bytes(self, batch: Batch) -> int:
        """Kept for the backward pass, the most of one micro-batch; weights left out."""
        held = list(self.model.state_dict(keep_vars=True).values())
        most = 0
        for loss_of in self.losses(batch):
            most = max(most, saved_bytes(loss_of, held))
            self.optimizer.zero_grad()
        return most

    def peak_bytes(self, batch: Batch) -> int:
        """Of gradients and all that a step computes with; weights and moments left out."""
        peak = peak_bytes(lambda: self.gradients(batch), self.device)
        self.optimizer.zero_grad()
        return peak

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def clock(device: torch.device) -> float:
    """Seconds of this process's CPU time, or of the wall where a GPU computes."""
    return time.process_time() if device.type == "cpu" else time.perf_counter()


def bench_step(bench: Bench) -> StepFigures:
    """Compare, then time in turns."""
    if bench.device == "cpu":
        torch.set_num_threads(1)
    device = torch.device(bench.device)
    model = _ours(bench, device)
    peer = peer_of(model, replace(bench.model, lora=_updates(bench)), audio_id=bench.num_ids - 1)
    batches = batches_of(bench.batches, bench.clips, bench.peer_batch, bench.num_ids, device)
    ours = Side(model, partial(_our_losses, model), device)
    theirs = Side(peer.model, partial(_their_losses, peer), device)
    if bench.compiled:
        for part in (model.encoder, model.language_model.base_model):
            for layer in part.get_submodule("layers").children():
                layer.compile(dynamic=True)
    loss_difference, gradient_difference = _differences(ours, theirs, batches[0])
    saved = [statistics.mean(map(side.saved_bytes, batches)) for side in (ours, theirs)]
    peaks = [max(map(side.peak_bytes, batches)) for side in (ours, theirs)]
    ours_s, theirs_s, ratio = _in_turns(ours, theirs, batches, bench.rounds)
    seconds_of_batch = [sum(batch.pack.num_samples) / SAMPLES_PER_SECOND for batch in batches]
    flops = statistics.mean(step_flops(model, batch.pack, STAGES[bench.stage]) for batch in batches)
    return StepFigures(
        stage=bench.stage,
        num_ids=bench.num_ids,
        clips_per_step=bench.clips,
        mean_clip_s=sum(seconds_of_batch) / len(seconds_of_batch) / bench.clips,
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
        planned_peak_bytes=max(planned_peak(bench, model, batch.pack) for batch in batches),
        audio_s_per_s=statistics.mean(seconds_of_batch) / ours_s,
        useful_flops_per_s=flops / ours_s,
        useful_mfu=flops / ours_s / _matrix_flops_per_s(device),
        loss_difference=loss_difference,
        gradient_difference=gradient_difference,
    )


def _our_losses(model: AudioLM, batch: Batch) -> list[Callable[[], Tensor]]:
    return [lambda: model.loss(batch.pack, weight=1 / batch.pack.num_learned).total]


def _their_losses(peer: Peer, batch: Batch) -> list[Callable[[], Tensor]]:
    shares = [int((rows.labels != NOT_LEARNED).sum()) / batch.pack.num_learned for rows in batch.rows]
    return [partial(_times, peer, rows, share) for rows, share in zip(batch.rows, shares, strict=True)]


def _times(peer: Peer, rows: PeerBatch, share: float) -> Tensor:
    return peer.loss(rows) * share


def _differences(ours: Side, theirs: Side, batch: Batch) -> tuple[float, float]:
    """Of losses and of gradients, relative.

    Raises:
        RuntimeError: the two compute different things.
    """
    losses = ours.gradients(batch), theirs.gradients(batch)
    of_loss = abs(losses[0] - losses[1]) / losses[1]
    assert isinstance(ours.model, AudioLM)
    mine = dict(in_their_names(ours.model, lambda one: one.grad))
    of_gradients = max(
        float((mine[name].float() - one.grad.float()).norm() / one.grad.float().norm().clamp(min=TINY))
        for name, one in theirs.model.named_parameters()
        if one.grad is not None
    )
    for side in (ours, theirs):
        side.optimizer.zero_grad()
    allowed = SAME if ours.device.type == "cpu" else SAME_IN_16_BITS
    if not max(of_loss, of_gradients) < allowed:
        raise RuntimeError(
            f"losses differ by {of_loss:.1e} and gradients by {of_gradients:.1e} of their size; two different computations "
            f"are not compared in time"
        )
    return of_loss, of_gradients


def _in_turns(ours: Side, theirs: Side, batches: Sequence[Batch], rounds: int) -> tuple[float, float, float]:
    """Seconds a step of both, and the median over rounds of their ratio; a first round warms up."""
    mine, other = list[float](), list[float]()
    for _ in range(rounds + 1):
        pairs = [(ours.seconds(batch), theirs.seconds(batch)) for batch in batches]
        mine.append(statistics.mean(pair[0] for pair in pairs))
        other.append(statistics.mean(pair[1] for pair in pairs))
    ratios = [b / a for a, b in zip(mine[1:], other[1:], strict=True)]
    return statistics.median(mine[1:]), statistics.median(other[1:]), statistics.median(ratios)


def planned_peak(bench: Bench, model: AudioLM, pack: PackedBatch) -> int:
    """What the plan of a recipe counts for one pack, weights and moments left out."""
    size = step_size(
        replace(bench.model, lora=_updates(bench)),
        _sizes(model),
        STAGES[bench.stage],
        tokens=pack.token_ids.numel(),
        audio_seconds=sum(pack.num_samples) / SAMPLES_PER_SECOND,
        learned_tokens=pack.num_learned,
        num_ids=bench.num_ids,
        is_half=bench.device != "cpu",
    )
    return int(size.total - size.weights)


def _updates(bench: Bench) -> dict[str, LoraConfig]:
    return {"language_model": LoraConfig()} if bench.stage == "lora" else {}


def _sizes(model: AudioLM) -> dict[str, int]:
    sizes: dict[str, int] = defaultdict(int)
    for name, parameter in model.named_parameters():
        sizes[part_of(name)] += parameter.numel()
    return {name: count for name, count in sizes.items() if count}


def _matrix_flops_per_s(device: torch.device, width: int = 2048, times: int = 8) -> float:
    """What a large matrix product reaches here, in 16 bits on a GPU."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    one = torch.randn(width, width, device=device, dtype=dtype)
    one @ one
    began = clock(device)
    for _ in range(times):
        one @ one
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 2 * width**3 * times / (clock(device) - began)


def _ours(bench: Bench, device: torch.device) -> AudioLM:
    """Random weights; on a GPU frozen ones in 16 bits, and trained ones in 32 with 16 bits to compute in."""
    torch.manual_seed(0)
    nothing = replace(
        bench.model,
        load=None,
        encoder=replace(bench.model.encoder, load=None),
        language_model=replace(bench.model.language_model, load=None),
        lora=_updates(bench),
    )
    with device:
        model = build_model(nothing, num_base=bench.num_ids, num_new=0)
    for name, parameter in model.named_parameters():
        is_trained = part_of(name) in STAGES[bench.stage]
        parameter.requires_grad_(is_trained)
        if not is_trained and device.type == "cuda":
            parameter.data = parameter.data.bfloat16()
    return model
