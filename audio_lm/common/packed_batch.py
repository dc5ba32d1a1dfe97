"""Input of one training step: the interface between collator and model.

Conversations are concatenated in one row of tokens and clips in one waveform, without
padding. The collator computes all indices, so the device computes none.

Shapes: T positions of text and audio, B conversations, N clips, S samples of
all clips, K audio tokens, P positions in the loss, J encoded audio tokens.

In a pack of pairs each conversation is two documents: with the chosen and with the rejected answer.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import torch
from torch import Tensor

NOT_TRAINABLE = -1
"""Number of units of a pack with a pair whose reference is missing."""


class Convert(Protocol):
    """Conversion of a tensor."""

    def __call__(self, tensor: Tensor, /) -> Tensor:
        """Tensor with the same values."""


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """Packed conversations, ready for the model.

    The last conversation may be padding: a separate document without clips and
    without positions in the loss.
    """

    token_ids: Tensor  # (T,)   int64; audio positions have the placeholder's id
    position_ids: Tensor  # (T,)   int64, from 0 in every conversation
    cu_seq_lens: Tensor  # (B+1,) int32; the last entry is T
    max_length: int  # positions of the longest conversation, rounded up
    audio_index: Tensor  # (K,)   int64; positions of the audio tokens, in reading order
    waves: Tensor  # (S,)   float32, 16 kHz, clips concatenated
    num_samples: tuple[int, ...]  # of each clip, in reading order
    learned_index: Tensor  # (P,)   int64; positions whose next token counts in the loss
    labels: Tensor  # (P,)   int64; the token that follows each of them
    task_index: Tensor  # (P,)   int64 into ``tasks``
    tasks: tuple[str, ...]  # distinct tasks of this pack
    cut_ids: tuple[str, ...]  # of each conversation, or pair
    augment: Tensor | None = None  # (N, 6) int64, see ``data.augment``
    source_counts: tuple[tuple[str, str, int, float, int, int], ...] = ()
    """For each task and source: task, source, conversations, seconds, tokens, tokens in the loss."""

    faults: tuple[
        tuple[str, str, str, str, str], ...
    ] = ()  # conversations without labels because their audio is bad, see ``data.audio.faults``

    audio_source: Tensor | None = None
    """(K,) int64 into the J encoded audio tokens: documents share clips, which are encoded once; None if none do."""

    reference: Tensor | None = None
    """(2 * pairs,) float64 log-probability of the answer of each document under the weights that the stage started from."""

    num_units: int = 0
    """Number of pairs, or of sampled answers, by which a loss of them is divided."""

    task_names: tuple[str, ...] = ()
    """Task of each conversation."""

    positions: tuple[int, ...] = ()
    """Of each conversation, in the schedule of the stage."""

    targets: tuple[tuple[str, str] | None, ...] = ()
    """Of questions whose answers are sampled: reference answer and its language; None if it has no reward."""

    advantages: Tensor | None = None
    """(B,) float64; of the answer of each document that was sampled."""

    layout: Tensor | None = None
    """Integers that an encoder needs of the clips, or of the silence of a pack without clips; None if it computes them."""

    layout_sizes: tuple[int, ...] = ()
    """Number of values of each part of ``layout``."""

    def __len__(self) -> int:
        return len(self.cut_ids)

    @property
    def num_learned(self) -> int:
        """Number of tokens in the loss."""
        return self.labels.numel()

    @property
    def clip_layout(self) -> tuple[Tensor, tuple[int, ...]] | None:
        """``layout`` with its sizes."""
        return None if self.layout is None else (self.layout, self.layout_sizes)

    def without_labels(self) -> "PackedBatch":
        """Copy of the batch with the same input and no labels."""
        empty = {name: getattr(self, name)[:0] for name in ("learned_index", "labels", "task_index")}
        return replace(self, num_units=0, targets=(None,) * len(self.targets), **empty)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "PackedBatch":
        """Move the tensors to a device. Lightning moves a frozen dataclass only through this method."""
        return self._with_tensors(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "PackedBatch":
        """Copy in pinned memory, from which a GPU reads while the host continues; the data loader calls it."""
        return self._with_tensors(Tensor.pin_memory)

    def _with_tensors(self, convert: Convert) -> "PackedBatch":
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        converted: dict[str, Any] = {
            name: convert(value) for name, value in values.items() if isinstance(value, Tensor)
        }
        return replace(self, **converted)
