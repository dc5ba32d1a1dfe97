"""What one step consumes; where data and model meet.

Conversations stand end to end in one row of tokens, clips end to end in one
waveform. Everything a device would otherwise have to work out is an integer
made by the collator.

Shapes: T positions of text and audio, B conversations, N clips, S samples of
all clips, K audio tokens, P learned positions.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """Conversations ready for the model.

    The last conversation may be padding: a document of its own that holds no
    clip and nothing learned.
    """

    token_ids: Tensor  # (T,)   int64; audio places hold the placeholder's id
    position_ids: Tensor  # (T,)   int64, restarting at every conversation
    cu_seq_lens: Tensor  # (B+1,) int32; the last entry is T
    max_length: int  # positions of the longest conversation, rounded up
    audio_index: Tensor  # (K,)   int64; where the audio tokens go, in reading order
    waves: Tensor  # (S,)   float32, 16 kHz, clips end to end
    num_samples: tuple[int, ...]  # of each clip, in reading order
    learned_index: Tensor  # (P,)   int64; positions whose next token is learned
    labels: Tensor  # (P,)   int64; the token that follows each of them
    task_index: Tensor  # (P,)   int64 into ``tasks``
    tasks: tuple[str, ...]  # the tasks of this pack, each once
    cut_ids: tuple[str, ...]  # of each conversation
    augment: Tensor | None = None  # (N, 6) int64, see ``data.augment``
    source_counts: tuple[tuple[str, str, int, float, int, int], ...] = ()
    """Task, source, and of both: conversations, seconds, tokens, learned tokens."""

    faults: tuple[
        tuple[str, str, str, str, str], ...
    ] = ()  # conversations that count nothing, see ``data.guard``

    def __len__(self) -> int:
        return len(self.cut_ids)

    @property
    def num_learned(self) -> int:
        """Tokens that count in the loss."""
        return self.labels.numel()

    def without_labels(self) -> "PackedBatch":
        """The same to hear, and nothing of it counts."""
        nothing = {name: getattr(self, name)[:0] for name in ("learned_index", "labels", "task_index")}
        return replace(self, **nothing)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "PackedBatch":
        """Move the tensors. Lightning moves a frozen dataclass only through this method."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {
            name: value.to(device, non_blocking=non_blocking)
            for name, value in values.items()
            if isinstance(value, Tensor)
        }
        return replace(self, **moved)
