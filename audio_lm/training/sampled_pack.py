"""The pack of a training step with sampled answers, from the pack of its questions.

Each answer is a document of its own, with a copy of its question; the clips of a question are in the pack once.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from audio_lm.common.packed_batch import PackedBatch


class SampledAnswer(NamedTuple):
    """One answer to a question."""

    conversation: int  # in the pack
    token_ids: Sequence[int]  # with its end token, if it has one
    advantage: float


def pack_answers(questions: PackedBatch, answers: Sequence[SampledAnswer]) -> PackedBatch:
    """Pack questions with answers, on the device of the questions.

    Args:
        answers: in the order of the conversations; without any, the first question is a document without labels.
    """
    borders, ids = questions.cu_seq_lens.tolist(), questions.token_ids.tolist()
    audio_index = questions.audio_index.tolist()
    sources = _audio_of_documents(borders, audio_index)
    token_ids, positions, starts = list[int](), list[int](), [0]
    learned, labels, audio, audio_source = list[int](), list[int](), list[int](), list[int]()
    task_of = _tasks_of(questions)
    tasks = list[int]()
    for answer in answers or [SampledAnswer(0, [], 0.0)]:
        start, end = borders[answer.conversation], borders[answer.conversation + 1]
        first, offset = starts[-1], starts[-1] - start
        token_ids += [*ids[start:end], *answer.token_ids]
        positions += range(end - start + len(answer.token_ids))
        starts.append(len(token_ids))
        of_answer = range(first + end - start - 1, len(token_ids) - 1)
        learned += of_answer
        labels += answer.token_ids
        tasks += [task_of[answer.conversation]] * len(of_answer)
        own = sources[answer.conversation]
        audio += [audio_index[number] + offset for number in own]
        audio_source += own
    lengths = [second - first for first, second in itertools.pairwise(starts)]
    device = questions.token_ids.device
    advantages = torch.tensor([answer.advantage for answer in answers] or [0.0], dtype=torch.float64)

    def moved(values: Sequence[int], dtype: torch.dtype = torch.int64) -> Tensor:
        return torch.tensor(values, dtype=dtype, device=device)

    return replace(
        questions,
        token_ids=moved(token_ids),
        position_ids=moved(positions),
        cu_seq_lens=moved(starts, torch.int32),
        max_length=max(questions.max_length, *lengths),
        audio_index=moved(audio),
        audio_source=moved(audio_source),
        learned_index=moved(learned),
        labels=moved(labels),
        task_index=moved(tasks),
        advantages=advantages.to(device),
    )


def _audio_of_documents(borders: Sequence[int], audio_index: Sequence[int]) -> list[list[int]]:
    """Numbers of the audio tokens of each document."""
    found: list[list[int]] = [[] for _ in borders[1:]]
    document = 0
    for number, position in enumerate(audio_index):
        while position >= borders[document + 1]:
            document += 1
        found[document].append(number)
    return found


def _tasks_of(questions: PackedBatch) -> list[int]:
    """Index of the task of each conversation."""
    return [questions.tasks.index(task) for task in questions.task_names]
