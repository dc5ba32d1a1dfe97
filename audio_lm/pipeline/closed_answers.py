"""Token paths of the allowed answers of a closed benchmark.

A path ends with the end token, or at the length limit of the benchmark: language identification, for instance, is
scored on its first token.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lhotse.cut import Cut

from audio_lm.common.errors import RecipeError
from audio_lm.config.schema import Recipe
from audio_lm.data.example import Example
from audio_lm.evaluation.choice_lines import choice_lines
from audio_lm.evaluation.config import BenchmarkConfig
from audio_lm.evaluation.controls import QUESTION
from audio_lm.model.decoder.closed import AnswerTree
from audio_lm.pipeline.plan_stage import maker_of
from audio_lm.prompts.vocabulary import Vocabulary

MAX_ALLOWED = 1000
"""More references than this are sentences rather than labels."""


@dataclass(frozen=True)
class AllowedAnswers:
    """Allowed answers to a question, and the tree of their tokens."""

    texts: tuple[str, ...]
    tree: AnswerTree


class ClosedSet:
    """Allowed answers of a benchmark.

    Raises:
        RecipeError: the answers cannot be distinguished, or there are too many.
    """

    def __init__(
        self, recipe: Recipe, benchmark: BenchmarkConfig, vocabulary: Vocabulary, cuts: Sequence[Cut]
    ) -> None:
        self.benchmark = benchmark
        self.vocabulary = vocabulary
        self.end_id = vocabulary.turn_end_id if benchmark.prompt == "chatml" else vocabulary.end_id
        self._of_choices: dict[tuple[str, ...], AllowedAnswers] = {}
        self._shared: AllowedAnswers | None = None
        self._references = _References(recipe, benchmark, vocabulary, cuts)

    def of(self, choices: tuple[str, ...] | None) -> AllowedAnswers:
        """Allowed answers to a question.

        Args:
            choices: in the question itself; those that the recipe names come first.
        """
        if choices is not None and not self.benchmark.allowed:
            if choices not in self._of_choices:
                self._of_choices[choices] = self._tree({text: self._ids(text) for text in choices})
            return self._of_choices[choices]
        if self._shared is None:
            named = {text: self._ids(text) for text in self.benchmark.allowed}
            self._shared = self._tree(named or self._references.paths())
        return self._shared

    def _ids(self, text: str) -> tuple[int, ...]:
        """Tokens of an answer that no cut has; its tags are tokens under the prompt tags."""
        is_markup = self.benchmark.prompt == "tags" and "<|" in text
        return (*self.vocabulary.ids(text, is_markup=is_markup), self.end_id)

    def _tree(self, paths: Mapping[str, tuple[int, ...]]) -> AllowedAnswers:
        limit = self.benchmark.max_new_tokens
        try:
            return AllowedAnswers(tuple(paths), AnswerTree(tuple(path[:limit] for path in paths.values())))
        except ValueError:
            raise RecipeError(
                f"closed: the allowed answers {[*paths][:6]} cannot be distinguished by their first {limit} tokens; "
                f"raise max_new_tokens, or name other answers in allowed"
            ) from None


class _References:
    """Distinct reference answers of a benchmark, with the tokens that training gives them."""

    def __init__(
        self, recipe: Recipe, benchmark: BenchmarkConfig, vocabulary: Vocabulary, cuts: Sequence[Cut]
    ) -> None:
        self.benchmark = benchmark
        self.cuts = cuts
        self.end_ids = {vocabulary.end_id, vocabulary.turn_end_id}
        self.prompts, self.answered = (
            maker_of(recipe, vocabulary, benchmark.prompt, is_evaluation=True, with_answer=with_answer)
            for with_answer in (False, True)
        )

    def paths(self) -> dict[str, tuple[int, ...]]:
        """Reference -> tokens; in the order of the alphabet, which does not depend on the clips.

        Raises:
            RecipeError: they are too many for labels.
        """
        task = self.benchmark.task
        cut_of = {self.prompts.reference(cut, task): cut for cut in reversed(self.cuts)}
        if len(cut_of) > MAX_ALLOWED:
            raise RecipeError(
                f"closed: {self.benchmark.source} has {len(cut_of)} different references, at most {MAX_ALLOWED} are "
                f"labels; remove closed, or name the answers in allowed"
            )
        return {text: self._path(cut) for text, cut in sorted(cut_of.items())}

    def _path(self, cut: Cut) -> tuple[int, ...]:
        prompt = len(self.prompts.example(cut, self.benchmark.task))
        whole: Example = self.answered.example(cut, self.benchmark.task)
        path = whole.token_ids[prompt:]
        # A chat continues after the end of a turn.
        end = next((at for at, token in enumerate(path) if token in self.end_ids), len(path))
        return tuple(path[: end + 1])


def choices_in(labels: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Lines of the choices in a question, such as ``A. dog``; None if it has none."""
    question = labels.get(QUESTION)
    lines = [match[0].strip() for match in choice_lines(question)] if isinstance(question, str) else []
    return tuple(lines) or None
