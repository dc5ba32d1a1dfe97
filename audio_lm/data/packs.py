"""Pack encoded conversations and their clips, one after another without padding.

Labels are shifted only here, within each conversation. Neither audio nor manifests are read here.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch

from audio_lm.common.audio_units import SAMPLES_PER_SECOND
from audio_lm.common.errors import DataError
from audio_lm.common.packed_batch import NOT_TRAINABLE, PackedBatch
from audio_lm.data.example import Example
from audio_lm.data.reference import MISSING

LENGTH_STEP = 128  # max_length is rounded up to a multiple, so that torch.compile sees few different values


def pack_examples(
    examples: Sequence[Example],
    waves: Sequence[np.ndarray],
    *,
    augment: torch.Tensor | None = None,
    faults: Sequence[tuple[str, str, str, str, str]] = (),
) -> PackedBatch:
    """Pack conversations and all their clips, in the order in which the text mentions them.

    A pair becomes two documents; the clips that they share are in the pack once.

    Args:
        faults: of conversations without labels because their audio is bad, see ``data.audio.faults``.

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
