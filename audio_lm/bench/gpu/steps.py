"""A training step on a GPU beside Hugging Face's, for one stage: eager and compiled, against batch 8 and batch 1.

Weights are random and made on the device. Trained ones are in 32 bits and frozen ones in 16, in both models, which
compute under autocast. Hugging Face's model gets its log-mel ready made, as data workers would make it; ours computes
it in the step.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from audio_lm.bench.batches import Batch, make_batches
from audio_lm.bench.flops import step_flops
from audio_lm.bench.gpu.machine import TERA, matrix_rate, peak_of
from audio_lm.bench.gpu.parts import Task
from audio_lm.bench.peer import Peer, PeerBatch, build_peer, values_by_peer_name
from audio_lm.bench.step import (
    STAGES,
    TINY,
    Bench,
    Side,
    build_ours,
    lora_of,
    our_losses,
    planned_peak,
    their_losses,
)
from audio_lm.common.audio_units import SAMPLES_PER_SECOND, Seconds
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.config import EncoderConfig, LanguageModelConfig, ModelConfig
from audio_lm.training.compile import compile_layers

LARGE_ENCODER = EncoderConfig(num_mels=128, width=1280, num_layers=32, num_heads=20, mlp_width=5120)
VOCABULARY = 151_936
SEVEN_B = {
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "intermediate_size": 11008,
    "max_position_embeddings": 8192,
}
"""Source: Qwen-7B, as in ``conf/model/qwen2_audio_7b.yaml``, which this module does not read: reading needs OmegaConf."""

ONE_AND_A_HALF_B = {
    "hidden_size": 1536,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "intermediate_size": 8960,
    "max_position_embeddings": 8192,
}
"""Source: config.json of Qwen2.5-1.5B; its tables are tied, here they are separate."""

REHEARSED = ModelConfig(
    encoder=EncoderConfig(num_mels=80, width=64, num_layers=2, num_heads=2, mlp_width=160),
    language_model=LanguageModelConfig(
        settings={
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "intermediate_size": 176,
            "max_position_embeddings": 2048,
        }
    ),
)
CLIPS, BATCHES, ROUNDS = 86, 2, 2
PEER_BATCH = 8
LIKELY_RATIO = (
    2.0  # of the time of batches of one over that of batches of eight, to decide whether there is time
)


@dataclass(frozen=True)
class Case:
    """A stage with its model; see ``Bench``."""

    bench: Bench
    peer_batch: int = PEER_BATCH

    @property
    def device(self) -> torch.device:
        """Device of the measurement."""
        return torch.device(self.bench.device)


class HalfSide(Side):
    """A model and its optimizer, computing in bf16 on any device."""

    def gradients(self, batch: Batch) -> float:
        """Run the forward and backward pass; return the loss."""
        total = torch.zeros((), device=self.device)
        for loss_of in self.losses(batch):
            with torch.autocast(self.device.type, torch.bfloat16):
                loss = loss_of()
            loss.backward()
            total += loss.detach()
        return float(total)


class PeerWithFeatures(Peer):
    """Hugging Face's model with log-mel spectrograms that are computed once and kept."""

    kept: dict[int, dict[str, Tensor]]

    def features(self, batch: PeerBatch) -> dict[str, Tensor]:
        """Spectrograms of a batch, as its own extractor computes them, on the device."""
        if not hasattr(self, "kept"):
            self.kept = {}
        if id(batch) not in self.kept:
            device = next(self.model.parameters()).device
            with torch.autocast("cpu", enabled=False):
                values = super().features(batch)
            self.kept[id(batch)] = {
                name: values[name].to(device) for name in ("input_features", "attention_mask")
            }
        return self.kept[id(batch)]


def case_of(stage: str, *, is_rehearsal: bool, device: str) -> Case:
    """Case of a stage at published size, or its rehearsal."""
    if is_rehearsal:
        bench = Bench(REHEARSED, stage, num_ids=400, clips=3, batches=1, rounds=1, device=device)
        return Case(bench, peer_batch=2)
    settings = ONE_AND_A_HALF_B if stage == "llm" else SEVEN_B
    model = ModelConfig(encoder=LARGE_ENCODER, language_model=LanguageModelConfig(settings={**settings}))
    bench = Bench(
        model, stage, num_ids=VOCABULARY, clips=CLIPS, batches=BATCHES, rounds=ROUNDS, device=device
    )
    return Case(bench)


def measure_step(task: Task, stage: str) -> None:
    """Measure the case of a stage, and hand each figure over as soon as it is known."""
    case = case_of(stage, is_rehearsal=task.is_rehearsal, device=task.device)
    bench, device = case.bench, case.device
    model = build_ours(bench, device)
    _halve_frozen(model)
    batches = make_batches(bench.batches, bench.clips, case.peer_batch, bench.num_ids, device)
    audio = sum(sum(batch.pack.num_samples) for batch in batches) / SAMPLES_PER_SECOND / len(batches)
    flops = statistics.mean(step_flops(model, batch.pack, STAGES[stage]) for batch in batches)
    task.put(
        weights={name: count for name, count in _sizes(model).items() if count},
        tokens=batches[0].pack.token_ids.numel(),
        clips=bench.clips,
        mean_clip_s=audio / bench.clips,
        peer_batch=case.peer_batch,
    )
    ours = HalfSide(model, partial(our_losses, model), device)
    our_seconds = [_mean_seconds(ours, batches) for _ in range(bench.rounds + 1)][1:]
    rate = matrix_rate(device)
    eager = statistics.median(our_seconds)
    task.put(
        ours_s=eager, matrix_tflops=rate / TERA, **_rates(flops, audio, eager, rate, device, prefix="eager")
    )
    task.put(
        peak_bytes=ours.peak_bytes(batches[0]), planned_bytes=planned_peak(bench, model, batches[0].pack)
    )

    peer = build_peer(model, replace(bench.model, lora=lora_of(bench)), audio_id=bench.num_ids - 1)
    theirs = _side_of(peer, device)
    task.put(**_differences(ours, theirs, batches[0]))
    theirs_s = _seconds_or_memory(theirs, batches)
    task.put(theirs_s=theirs_s, ratio=_ratio(theirs_s, eager))
    # The first round compiles. On a CPU, generating code takes longer than a rehearsal may.
    compile_layers(model, backend="inductor" if device.type == "cuda" else "aot_eager")
    compiled = statistics.median([_mean_seconds(ours, batches) for _ in range(bench.rounds + 1)][1:])
    task.put(
        compiled_s=compiled,
        compiled_ratio=_ratio(theirs_s, compiled),
        **_rates(flops, audio, compiled, rate, device, prefix="compiled"),
    )
    if theirs_s is not None and task.left < 2 * LIKELY_RATIO * theirs_s:
        task.put(single_note="no time was left for batches of one")
        return
    singles = make_batches(1, bench.clips, 1, bench.num_ids, device)
    singles_s = _seconds_or_memory(theirs, singles)
    task.put(
        singles_s=singles_s,
        singles_ratio=_ratio(singles_s, eager),
        compiled_singles_ratio=_ratio(singles_s, compiled),
    )


def _halve_frozen(model: AudioLM) -> None:
    """Convert frozen matrices to 16 bits, which on a GPU they are: a CPU's layer norm needs its weights in 32."""
    for parameter in model.parameters():
        if not parameter.requires_grad and parameter.ndim > 1:
            parameter.data = parameter.data.bfloat16()


def _side_of(peer: Peer, device: torch.device) -> HalfSide:
    ready = PeerWithFeatures(peer.model, peer.extractor)
    return HalfSide(ready.model, partial(their_losses, ready), device)


def _mean_seconds(side: Side, batches: Sequence[Batch]) -> Seconds:
    return statistics.mean(map(side.seconds, batches))


def _seconds_or_memory(side: Side, batches: Sequence[Batch]) -> Seconds | None:
    """Mean seconds of a step after a warm-up; None if the memory does not suffice."""
    try:
        side.seconds(batches[0])
        return _mean_seconds(side, batches)
    except torch.OutOfMemoryError:
        side.optimizer.zero_grad()
        torch.cuda.empty_cache()
        return None


def _rates(
    flops: float, audio: Seconds, seconds: Seconds, matrix: float, device: torch.device, *, prefix: str
) -> dict[str, float | None]:
    """Throughput, and useful operations as a share of the card's peak and of a measured matrix product."""
    peak = peak_of(torch.cuda.get_device_name()) if device.type == "cuda" else None
    return {
        f"{prefix}_audio_s_per_s": audio / seconds,
        f"{prefix}_tflops": flops / seconds / TERA,
        f"{prefix}_mfu_of_peak": flops / seconds / peak if peak else None,
        f"{prefix}_mfu_of_matrix": flops / seconds / matrix,
    }


def _ratio(theirs: Seconds | None, ours: Seconds) -> float | None:
    return None if theirs is None else theirs / ours


def _differences(ours: Side, theirs: Side, batch: Batch) -> dict[str, float | str]:
    """Relative differences of losses and of all gradients together, and the weight that differs most.

    It is reported and not an error: in 16 bits, gradients that nearly cancel, such as those of a key's bias, differ
    much in relation to their own size.
    """
    losses = ours.gradients(batch), theirs.gradients(batch)
    assert isinstance(ours.model, AudioLM)
    our_grads = dict(values_by_peer_name(ours.model, lambda weight: weight.grad))
    worst, worst_name, error, total = 0.0, "", 0.0, 0.0
    for name, parameter in theirs.model.named_parameters():
        if parameter.grad is None:
            continue
        grad = parameter.grad.float()
        difference, norm = float((our_grads[name].float() - grad).norm()), float(grad.norm())
        error, total = error + difference**2, total + norm**2
        if difference / max(norm, TINY) > worst:
            worst, worst_name = difference / max(norm, TINY), name
    for side in (ours, theirs):
        side.optimizer.zero_grad()
    return {
        "loss": losses[0],
        "loss_difference": abs(losses[0] - losses[1]) / abs(losses[1]),
        "gradient_difference": (error / max(total, TINY)) ** 0.5,
        "largest_difference": worst,
        "largest_in": worst_name,
    }


def _sizes(model: AudioLM) -> dict[str, int]:
    return {
        name: sum(parameter.numel() for parameter in part.parameters())
        for name, part in model.named_children()
    }
