"""Conversations end to end in one pack.

Labels are shifted here and nowhere else, inside each conversation. Lengths are
compared here, where the cut can still be named.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np
import torch
from lhotse.cut import Cut

from audio_lm.common.audio_units import SAMPLES_PER_SECOND, frames_in
from audio_lm.common.errors import DataError
from audio_lm.common.packed_batch import PackedBatch
from audio_lm.common.rng import random_for
from audio_lm.data.audio.faults import Fault, FaultyAudioError, silence_for
from audio_lm.data.augment import spec_augment_row
from audio_lm.data.config import SpecAugmentConfig
from audio_lm.data.examples import FAULT, Example
from audio_lm.data.manifest.cuts import load_waves

LENGTH_STEP = 128  # max_length is rounded up to it, so that compiled code sees few of them


def pack_examples(
    examples: Sequence[Example],
    waves: Sequence[np.ndarray],
    *,
    augment: torch.Tensor | None = None,
    faults: Sequence[Fault] = (),
) -> PackedBatch:
    """One pack from conversations and all their clips in reading order.

    Raises:
        DataError: a clip is not as long as its example promised.
    """
    promised = [count for example in examples for count in example.num_samples]
    if [len(wave) for wave in waves] != promised:
        names = ", ".join(repr(example.cut_id) for example in examples[:3])
        raise DataError(
            f"the clips of cuts {names} ... are not as long as their manifest says; prepare the corpus again"
        )
    starts = [0, *accumulate(len(example) for example in examples)]
    tasks = tuple(dict.fromkeys(example.task for example in examples))
    learned, labels, task_index, audio_index = [], [], [], []
    for start, example in zip(starts, examples, strict=False):
        places = [i for i in range(len(example) - 1) if example.is_learned[i + 1]]
        learned += [start + i for i in places]
        labels += [example.token_ids[i + 1] for i in places]
        task_index += [tasks.index(example.task)] * len(places)
        audio_index += [start + i for i in example.audio_index]
    longest = max(len(example) for example in examples)
    return PackedBatch(
        token_ids=_integers([token for example in examples for token in example.token_ids]),
        position_ids=torch.cat([torch.arange(len(example)) for example in examples]),
        cu_seq_lens=torch.tensor(starts, dtype=torch.int32),
        max_length=-(-longest // LENGTH_STEP) * LENGTH_STEP,
        audio_index=_integers(audio_index),
        waves=torch.from_numpy(np.concatenate(waves)) if waves else torch.zeros(0),
        num_samples=tuple(promised),
        learned_index=_integers(learned),
        labels=_integers(labels),
        task_index=_integers(task_index),
        tasks=tasks,
        cut_ids=tuple(example.cut_id for example in examples),
        augment=augment,
        source_counts=_source_counts(examples),
        faults=tuple(faults),
    )


def _source_counts(examples: Sequence[Example]) -> tuple[tuple[str, str, int, float, int, int], ...]:
    """How much of what is in a pack."""
    counts: dict[tuple[str, str], list[float]] = {}
    for example in examples:
        of_leaf = counts.setdefault((example.task, example.source), [0, 0.0, 0, 0])
        seconds = sum(example.num_samples) / SAMPLES_PER_SECOND
        more = (1, seconds, len(example), sum(example.is_learned[1:]))
        of_leaf[:] = [before + one for before, one in zip(of_leaf, more, strict=True)]
    return tuple(
        (task, source, int(clips), seconds, int(tokens), int(learned))
        for (task, source), (clips, seconds, tokens, learned) in counts.items()
    )


def _integers(values: Sequence[int]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int64)


class Collator:
    """Reads the clips of cuts that carry their examples, and packs them.

    Args:
        load: how clips are read; ``guarded_waves`` lets one bad clip cost its conversation only.
        unreadable: cuts known to have no audio; nobody tries to read them.
    """

    def __init__(
        self,
        *,
        policy: SpecAugmentConfig | None = None,
        num_mels: int = 80,
        seed: int = 0,
        load: Callable[[Cut], list[np.ndarray]] = load_waves,
        unreadable: Mapping[str, str] | None = None,
    ) -> None:
        self.policy = policy
        self.num_mels = num_mels
        self.seed = seed
        self.load = load
        self.unreadable = unreadable or {}

    def __call__(self, cuts: Sequence[Cut]) -> PackedBatch:
        examples, waves, faults = list[Example](), list[np.ndarray](), list[Fault]()
        for cut in cuts:
            example: Example = cut.custom["example"]
            try:
                waves += self._waves(cut)
            except FaultyAudioError as error:
                waves += silence_for(cut)
                faults.append(Fault(example.cut_id, example.task, example.source, error.reason, str(error)))
                example = replace(example, is_learned=[False] * len(example))
            examples.append(example)
        rows = [
            self._row(example, number) for example in examples for number in range(len(example.num_samples))
        ]
        augment = torch.tensor(rows, dtype=torch.int64) if self.policy and rows else None
        return pack_examples(examples, waves, augment=augment, faults=faults)

    def _waves(self, cut: Cut) -> list[np.ndarray]:
        if fault := cut.custom.get(FAULT):
            raise FaultyAudioError("line", fault)
        if cut.id in self.unreadable:
            raise FaultyAudioError("decode", self.unreadable[cut.id])
        return self.load(cut)

    def _row(self, example: Example, number: int) -> list[int]:
        if self.policy is None:
            return []
        return spec_augment_row(
            self.policy,
            num_frames=frames_in(example.num_samples[number]),
            num_mels=self.num_mels,
            rng=random_for(self.seed, "augment", example.position, number),
        )
