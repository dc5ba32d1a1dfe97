"""The definition of a task: question templates, required labels, form of the answer.

A task turns the labels of a clip into a question and an answer. Not defined here:
which cut-sets it is trained on (the mixture), how answers are scored (``metrics``),
and how templates are tokenized (``prompts``).

Source: Qwen-Audio, arXiv:2311.07919, table 1.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from audio_lm.common.errors import DataError

Labels = Mapping[str, Any]
"""Labels of a clip; ``labels.py`` has the table."""


class Markup(str):
    """A string that is one special token of the vocabulary; any other string is text.

    A transcript may contain ``<|endoftext|>``; only strings of this type are
    encoded as special tokens.
    """

    __slots__ = ()


Target = Callable[[Labels], Sequence[str]]
"""Labels -> parts of the answer, its special tokens as ``Markup``."""

QUESTION_TAGS = "<|startofanalysis|><|{{language}}|><|question|>{question}<|answer|>"
"""Tags of a task without tags of its own: those of row ``aqa``, with its first question as text."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task as one row of data; name, prompts, needs and target are enough."""

    name: str
    """Name in recipes and metrics: ``asr``."""

    prompts: tuple[str, ...]
    """Questions in English. The prefix ``qwen2-audio:`` marks those copied from that model."""

    needs: tuple[str, ...]
    """Labels that a clip must have."""

    target: Target
    """Answer with special tokens."""

    plain: Callable[[Labels], str] | None = None
    """Answer in plain words; required if ``target`` has special tokens."""

    metrics: tuple[str, ...] = ("acc",)
    """Metrics of the answers; names of ``METRICS``."""

    tags: str = ""
    """Template of hierarchical tags; fields: labels such as language, target_language, question. Empty: ``QUESTION_TAGS``."""

    extension_tokens: tuple[str, ...] = ()
    """Tokens that the released vocabulary lacks."""

    prompts_zh: tuple[str, ...] = ()
    """Questions in Chinese."""

    num_clips: int = 1
    """Clips in one question."""

    language: str | None = None
    """Language that its clips must have; None for any."""

    row: int | None = None
    """Number in the paper's table, from 1; None if the task is not in it."""

    title: str = ""
    """Title in the paper's table."""

    group: Literal["speech", "sound", "music"] | None = None
    """Kind of audio in the paper's table."""

    hours: float | None = None
    """Hours of training audio in the paper."""

    is_hours_bound: bool = False
    """True if ``hours`` is an upper bound ("<1000")."""

    tag_status: Literal["eval_script", "tokens_exist", "extension"] = "tokens_exist"
    """Source of the tags: released scripts verbatim, released tokens only, or with a token added here."""

    corpora: Mapping[str, str | None] = field(default_factory=dict)
    """Public corpora -> Lhotse recipe, or None if Lhotse has none."""

    def __post_init__(self) -> None:
        if not self.tags:
            object.__setattr__(self, "tags", QUESTION_TAGS.format(question=self.prompts[0]))

    def missing_labels(self, labels: Labels) -> tuple[str, ...]:
        """Required labels that a clip lacks."""
        return tuple(key for key in self.needs if labels.get(key) is None)

    def check(self, labels: Labels) -> None:
        """Check that a clip has the labels and the language of this task.

        Raises:
            DataError: it has not. The message names the label; the caller adds the cut.
        """
        if missing := self.missing_labels(labels):
            raise DataError(
                f"no label {', '.join(map(repr, missing))} -- task {self.name!r} needs "
                f"{', '.join(self.needs)}; label the clip, or remove its source from this task"
            )
        if self.language not in (None, labels.get("language", self.language)):
            raise DataError(
                f"label 'language' is {labels['language']!r} -- task {self.name!r} is for "
                f"{self.language!r} only; remove the clip's source from this task"
            )

    def parts(self, labels: Labels) -> tuple[str, ...]:
        """Parts of the answer in the prompt format ``tags``: special tokens and texts.

        Raises:
            DataError: a label is missing or has an invalid value.
        """
        self.check(labels)
        return tuple(part for part in self.target(labels) if part)

    def answer(self, labels: Labels) -> str:
        """Answer in the prompt format ``tags``, as one string."""
        return "".join(self.parts(labels))

    def plain_answer(self, labels: Labels) -> str:
        """Answer in plain words, without special tokens."""
        if self.plain is None:
            return self.answer(labels)
        self.check(labels)
        return self.plain(labels)
