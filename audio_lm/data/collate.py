"""Collate conversations into a packed batch, one after another without padding.

Labels are shifted only here, within each conversation. Lengths are checked here, because an error can still name
the cut.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any, Protocol

import numpy as np
import torch
from lhotse.cut import Cut

from audio_lm.common.audio_units import SAMPLES_PER_SECOND, SHORTEST_CLIP, frames_in
from audio_lm.common.errors import DataError
from audio_lm.common.packed_batch import NOT_TRAINABLE, PackedBatch
from audio_lm.common.rng import random_for
from audio_lm.data.audio.faults import Fault, FaultyAudioError, silence_for
from audio_lm.data.augment import spec_augment_row
from audio_lm.data.config import SpecAugmentConfig
from audio_lm.data.examples import FAULT, Example
from audio_lm.data.manifest.cuts import load_waves, rejected_cut
from audio_lm.data.reference import MISSING

LENGTH_STEP = 128  # max_length is rounded up to a multiple, so that torch.compile sees few different values


def pack_examples(
    examples: Sequence[Example],
    waves: Sequence[np.ndarray],
    *,
    augment: torch.Tensor | None = None,
    faults: Sequence[Fault] = (),
) -> PackedBatch:
    """Pack conversations and all their clips, in the order in which the text mentions them.

    A pair becomes two documents; the clips that they share are in the pack once.

    Raises:
        DataError: a clip differs in length from its manifest.
    """
    documents = [document for example in examples for document in example.documents]
    promised = [count for document in documents for count in document.num_samples]
    if [len(wave) for wave in waves] != promised:
        names = ", ".join(repr(example.cut_id) for example in examples[:3])
        raise DataError(
            f"the clips of cuts {names} ... differ in length from their manifest; prepare the corpus again"
        )
    sizes = [len(document.token_ids) for document in documents]
    starts = [0, *accumulate(sizes)]
    tasks = tuple(dict.fromkeys(example.task for example in examples))
    learned, labels, task_index, audio_index = [], [], [], []
    for start, document in zip(starts, documents, strict=False):
        before_learned = [i for i, is_learned in enumerate(document.is_learned[1:]) if is_learned]
        learned += [start + i for i in before_learned]
        labels += [document.token_ids[i + 1] for i in before_learned]
        task_index += [tasks.index(document.task)] * len(before_learned)
        audio_index += [start + i for i in document.audio_index]
    longest = max(sizes)
    return PackedBatch(
        token_ids=_int64([token for document in documents for token in document.token_ids]),
        position_ids=torch.cat([torch.arange(size) for size in sizes]),
        cu_seq_lens=torch.tensor(starts, dtype=torch.int32),
        max_length=-(-longest // LENGTH_STEP) * LENGTH_STEP,
        audio_index=_int64(audio_index),
        waves=torch.from_numpy(np.concatenate(waves)) if waves else torch.zeros(0),
        num_samples=tuple(promised),
        learned_index=_int64(learned),
        labels=_int64(labels),
        task_index=_int64(task_index),
        tasks=tasks,
        cut_ids=tuple(example.cut_id for example in examples),
        augment=augment,
        source_counts=_source_counts(examples),
        faults=tuple(faults),
        task_names=tuple(example.task for example in examples),
        positions=tuple(example.position for example in examples),
        targets=_targets(examples),
        **_pair_fields(examples),
    )


def _targets(examples: Sequence[Example]) -> tuple[tuple[str, str] | None, ...]:
    """Reference answers of questions; empty if answers are given."""
    has_answers = not any(example.num_reserved for example in examples)
    return () if has_answers else tuple(example.target for example in examples)


def _pair_fields(examples: Sequence[Example]) -> dict[str, Any]:
    """Fields of a pack of pairs: shared audio, reference, and number of pairs in the loss."""
    if not any(example.rejected for example in examples):
        return {}
    sources, num_encoded = list[int](), 0
    for example in examples:
        for document in example.documents:
            num_tokens = len(document.audio_index)
            if document is example or document.num_samples:
                first, num_encoded = num_encoded, num_encoded + num_tokens
            sources += range(first, first + num_tokens)
    num_pairs = sum(any(example.is_learned[1:]) for example in examples)
    if any(example.reference == MISSING for example in examples):
        num_pairs = NOT_TRAINABLE
    is_shared = len(sources) > num_encoded
    references = [example.reference or (0.0, 0.0) for example in examples]
    return {
        "audio_source": _int64(sources) if is_shared else None,
        "reference": torch.tensor(references, dtype=torch.float64).flatten(),
        "num_units": num_pairs,
    }


def _source_counts(examples: Sequence[Example]) -> tuple[tuple[str, str, int, float, int, int], ...]:
    """(task, source, clips, seconds, tokens, learned tokens) of each source in a pack."""
    counts: dict[tuple[str, str], list[float]] = {}
    for example in examples:
        totals = counts.setdefault((example.task, example.source), [0, 0.0, 0, 0])
        samples = sum(sum(document.num_samples) for document in example.documents)
        seconds = samples / SAMPLES_PER_SECOND
        learned_tokens = sum(sum(document.is_learned[1:]) for document in example.documents)
        added = (1, seconds, len(example), learned_tokens)
        totals[:] = [total + more for total, more in zip(totals, added, strict=True)]
    return tuple(
        (task, source, int(clips), seconds, int(tokens), int(learned))
        for (task, source), (clips, seconds, tokens, learned) in counts.items()
    )


def _int64(values: Sequence[int]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int64)


class LoadWaves(Protocol):
    """Reader of the clips of a cut."""

    def __call__(self, cut: Cut, /) -> list[np.ndarray]:
        """Waves of all clips, (S,) each, 16 kHz."""


class LayoutOf(Protocol):
    """What an encoder needs to know of the clips of a pack."""

    def __call__(self, num_samples: Sequence[int], /) -> tuple[torch.Tensor, tuple[int, ...]]:
        """Values of ``PackedBatch.layout``, and their sizes."""


class Collator:
    """Collate function: load the clips of cuts with examples (``with_example``), and pack them.

    Args:
        load: loads the clips of a cut; with ``load_waves_or_fault`` a bad clip costs only its own conversation.
        unreadable: cut id -> reason, of cuts whose audio is known to be unreadable; it is not read again.
        layout_of: computes what the encoder needs of the clips; None leaves it to the encoder.
    """

    def __init__(
        self,
        *,
        policy: SpecAugmentConfig | None = None,
        num_mels: int = 80,
        seed: int = 0,
        load: LoadWaves = load_waves,
        unreadable: Mapping[str, str] | None = None,
        layout_of: LayoutOf | None = None,
    ) -> None:
        self.layout_of = layout_of
        self.policy = policy
        self.num_mels = num_mels
        self.seed = seed
        self.load = load
        self.unreadable = unreadable or {}

    def __call__(self, cuts: Sequence[Cut]) -> PackedBatch:
        examples, waves, faults = list[Example](), list[np.ndarray](), list[Fault]()
        for cut in cuts:
            example: Example = cut.custom["example"]
            # The clips of a rejected conversation follow those of the chosen one.
            others = rejected_cut(cut) if example.rejected else None
            clips = [cut] if others is None else [cut, others]
            try:
                waves += [wave for each in clips for wave in self._load(each)]
            except FaultyAudioError as error:
                waves += [wave for each in clips for wave in silence_for(each)]
                faults.append(Fault(example.cut_id, example.task, example.source, error.reason, str(error)))
                example = example.without_labels()
            if example.reference is not None and any(map(math.isnan, example.reference)):
                example = replace(example.without_labels(), reference=None)  # its audio was bad at that time
            examples.append(example)
        rows = [
            self._augment_row(example, number)
            for example in examples
            for number in range(len(example.num_samples))
        ]
        augment = torch.tensor(rows, dtype=torch.int64) if self.policy and rows else None
        pack = pack_examples(examples, waves, augment=augment, faults=faults)
        if self.layout_of is None:
            return pack
        layout, sizes = self.layout_of(pack.num_samples or (SHORTEST_CLIP,))
        return replace(pack, layout=layout, layout_sizes=sizes)

    def _load(self, cut: Cut) -> list[np.ndarray]:
        if fault := (cut.custom or {}).get(FAULT):
            raise FaultyAudioError("line", fault)
        if cut.id in self.unreadable:
            raise FaultyAudioError("decode", self.unreadable[cut.id])
        return self.load(cut)

    def _augment_row(self, example: Example, number: int) -> list[int]:
        if self.policy is None:
            return []
        return spec_augment_row(
            self.policy,
            num_frames=frames_in(example.num_samples[number]),
            num_mels=self.num_mels,
            rng=random_for(self.seed, "augment", example.position, number),
        )
