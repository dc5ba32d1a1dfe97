"""Collate cuts with their examples: load the audio, draw the masks of SpecAugment, and pack.

Lengths are checked here, because an error can still name the cut.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from lhotse.cut import Cut

from audio_lm.common.audio_units import SHORTEST_CLIP, frames_in
from audio_lm.common.packed_batch import PackedBatch
from audio_lm.common.rng import random_for
from audio_lm.data.audio.faults import Fault, FaultyAudioError, silence_for
from audio_lm.data.augment import spec_augment_row
from audio_lm.data.config import SpecAugmentConfig
from audio_lm.data.example import Example
from audio_lm.data.examples import FAULT
from audio_lm.data.manifest.cuts import load_waves, rejected_cut
from audio_lm.data.packs import pack_examples


class LoadWaves(Protocol):
    """Reader of the clips of a cut."""

    def __call__(self, cut: Cut, /) -> list[np.ndarray]:
        """Waves of all clips, (S,) each, 16 kHz."""


class LayoutOf(Protocol):
    """Function that computes the layout of the clips of a pack for an encoder."""

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
