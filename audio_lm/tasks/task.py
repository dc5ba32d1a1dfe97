"""What a task is: how it is asked, what it needs to know, what its answer looks like.

A task turns the labels of a clip into a question and an answer. It does not know
which cut-sets teach it (the mixture's business), nor how an answer is scored
(the metrics'), nor how its templates become tokens (the prompts').

Source: Qwen-Audio, arXiv:2311.07919, table 1.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from audio_lm.common.errors import DataError

Labels = Mapping[str, Any]
"""What is known about a clip; the closed set of keys is in ``README.md``."""


class Markup(str):
    """A string that is one token of the vocabulary; any other string is words.

    Somebody's transcript may well contain ``<|endoftext|>``; only what carries
    this type is ever read as a token.
    """

    __slots__ = ()


Target = Callable[[Labels], Sequence[str]]
"""Labels -> the answer in parts, its tokens marked as ``Markup``."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """Something the model can be asked to do with a clip."""

    name: str
    """As in recipes and metric names: ``asr``."""

    row: int
    """In the paper's table, from 1."""

    title: str
    """As in the paper's table."""

    group: Literal["speech", "sound", "music"]
    """What is heard."""

    hours: float
    """Audio the paper trained it on."""

    is_hours_bound: bool = False
    """Whether ``hours`` is only an upper bound ("<1000")."""

    tags: str
    """Asked with hierarchical tags; holes: language, target_language, question."""

    tag_status: Literal["eval_script", "tokens_exist", "extension"]
    """Verbatim from the released scripts, made of released tokens, or with a token of ours."""

    extension_tokens: tuple[str, ...] = ()
    """Tokens that the released vocabulary does not have."""

    prompts: tuple[str, ...]
    """Asked in plain words. Those marked ``qwen2-audio:`` are that system's own."""

    prompts_zh: tuple[str, ...]
    """... and in Chinese."""

    needs: tuple[str, ...]
    """Labels without which a clip cannot serve it."""

    target: Target
    """The answer, with its tokens."""

    plain: Callable[[Labels], str] | None = None
    """The answer in words, where ``target`` has tokens."""

    metrics: tuple[str, ...]
    """How answers are judged; names of ``METRICS``."""

    corpora: Mapping[str, str | None]
    """Public corpora -> the lhotse recipe that reads each, where there is one."""

    num_clips: int = 1
    """Clips in one question."""

    language: str | None = None
    """The only language it can be asked in."""

    def missing(self, labels: Labels) -> tuple[str, ...]:
        """What the task needs to know about a clip and is not told."""
        return tuple(key for key in self.needs if labels.get(key) is None)

    def check(self, labels: Labels) -> None:
        """Whether a clip can serve this task.

        Raises:
            DataError: it cannot; the message names the label, the caller the cut.
        """
        if missing := self.missing(labels):
            raise DataError(
                f"no label {', '.join(map(repr, missing))} -- task {self.name!r} needs "
                f"{', '.join(self.needs)}; label the clip, or take its source out of this task"
            )
        if self.language not in (None, labels.get("language", self.language)):
            raise DataError(
                f"label 'language' is {labels['language']!r} -- task {self.name!r} is asked in "
                f"{self.language!r} only; take the clip's source out of this task"
            )

    def parts(self, labels: Labels) -> tuple[str, ...]:
        """The answer in the language of tags, its tokens apart from its words.

        Raises:
            DataError: a label is missing or has an impossible value.
        """
        self.check(labels)
        return tuple(part for part in self.target(labels) if part)

    def answer(self, labels: Labels) -> str:
        """The answer in the language of tags, as one string."""
        return "".join(self.parts(labels))

    def plain_answer(self, labels: Labels) -> str:
        """The same answer in words that a reader needs no tokens for."""
        if self.plain is None:
            return self.answer(labels)
        self.check(labels)
        return self.plain(labels)
