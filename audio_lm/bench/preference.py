"""Speed of a step of DPO whose pairs share the encoding of their audio, against one that encodes it for each answer."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from audio_lm.bench.batches import make_conversation
from audio_lm.bench.clips import even_seconds
from audio_lm.bench.roofline import clock
from audio_lm.bench.step import SMALL
from audio_lm.common.packed_batch import PackedBatch
from audio_lm.common.rng import random_for
from audio_lm.data.example import Example
from audio_lm.data.packs import pack_examples
from audio_lm.model.build import build_model
from audio_lm.model.config import ModelConfig
from audio_lm.training.config import OptimizerConfig
from audio_lm.training.dpo import DpoModule
from audio_lm.training.objective_config import DpoConfig
from audio_lm.training.param_groups import Rate


@dataclass(frozen=True)
class PreferenceFigures:
    """Result of ``audio-lm bench dpo``."""

    ratio: float
    """Time of the unshared step over that of the shared one; median of the pairs of measurements."""

    shared_s: float
    unshared_s: float
    audio_s: float
    """Audio of a step, without the copies."""

    pairs: int
    gradient_difference: float
    """Largest difference of a gradient, relative to the largest value of that gradient."""


def bench_preference(
    config: ModelConfig = SMALL, *, pairs: int = 8, rounds: int = 5, num_ids: int = 4000
) -> PreferenceFigures:
    """Measure forward and backward pass of a pack of pairs, on one thread; both variants alternate.

    Args:
        pairs: of a pack, each about one clip.
        rounds: measurements of each variant, after one to warm up.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = build_model(config, num_base=num_ids, num_new=0).train(False)
    module = DpoModule(
        model,
        config=DpoConfig(),
        rate_of={name: Rate(1e-5) for name, _ in model.named_parameters()},
        factor=lambda step: 1.0,
        optimizer=OptimizerConfig(),
    )
    shared = _pack(pairs, num_ids)
    unshared = _encoded_twice(shared)
    gradients = [_gradients(module, pack) for pack in (shared, unshared)]
    seconds: list[list[float]] = [[], []]
    for _ in range(rounds + 1):
        for times, pack in zip(seconds, (shared, unshared), strict=True):
            start = clock(torch.device("cpu"))
            _gradients(module, pack)
            times.append(clock(torch.device("cpu")) - start)
    shared_s, unshared_s = (statistics.median(times[1:]) for times in seconds)
    return PreferenceFigures(
        ratio=statistics.median(b / a for a, b in zip(seconds[0][1:], seconds[1][1:], strict=True)),
        shared_s=shared_s,
        unshared_s=unshared_s,
        audio_s=sum(shared.num_samples) / 16_000,
        pairs=pairs,
        gradient_difference=max(
            float((a - b).abs().max() / b.abs().max()) for a, b in zip(*gradients, strict=True) if b.any()
        ),
    )


def _pack(pairs: int, num_ids: int) -> PackedBatch:
    """Pairs of random tokens after the same clip."""
    examples, waves = list[Example](), list[np.ndarray]()
    for number, seconds in enumerate(even_seconds(pairs, "preference")):
        rng = random_for("bench", "preference", number)
        chosen, wave = make_conversation(rng, seconds, num_ids)
        changed = chosen.is_learned.index(True)
        answer = rng.integers(0, num_ids - 1, len(chosen.token_ids) - changed).tolist()
        rejected = replace(chosen, token_ids=[*chosen.token_ids[:changed], *answer], num_samples=())
        examples.append(replace(chosen, rejected=rejected, reference=(-300.0, -300.0)))
        waves.append(wave)
    return pack_examples(examples, waves)


def _encoded_twice(pack: PackedBatch) -> PackedBatch:
    """The same pairs with a clip for each answer."""
    waves = pack.waves.split(list(pack.num_samples))
    return replace(
        pack,
        audio_source=None,
        waves=torch.cat([wave for wave in waves for _ in range(2)]),
        num_samples=tuple(count for count in pack.num_samples for _ in range(2)),
    )


def _gradients(module: DpoModule, pack: PackedBatch) -> Sequence[torch.Tensor]:
    module.model.zero_grad()
    module.compute_loss(pack, 1 / pack.num_units).total.backward()
    return [parameter.grad.clone() for parameter in module.model.parameters() if parameter.grad is not None]
