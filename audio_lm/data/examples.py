"""Make an example from a cut and a task: one conversation, encoded.

An example has only integers. The collator loads the audio later and checks that it has the stated length.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Literal

from lhotse.cut import Cut, MonoCut

from audio_lm.common.audio_units import TOKENS_PER_SECOND, WHISPER, AudioTokenCount
from audio_lm.common.errors import DataError
from audio_lm.common.languages import UNKNOWN_LANGUAGE
from audio_lm.data.example import Example
from audio_lm.data.manifest.cuts import check_length, num_samples_of, rejected_cut
from audio_lm.data.manifest.labels import ClipLabels, labels_of, places_of
from audio_lm.data.manifest.lhotse_cut import CutFacts
from audio_lm.data.pairs import pair_of
from audio_lm.prompts.conversation import Piece
from audio_lm.prompts.encode import encode
from audio_lm.prompts.render import num_choices, reference, render, render_answer, render_chat
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.tasks.labels import LABELS
from audio_lm.tasks.registry import CHAT, TASKS, find_task
from audio_lm.tasks.task import Labels, Task
from audio_lm.training.objective_config import GIVEN, AnswerRule

Prompt = Literal["tags", "natural", "chatml"]
FAULT = "fault"  # custom field of a placeholder cut: the reason of the fault
TIMED_LABELS = frozenset(name for name, label in LABELS.items() if label.is_of_moments)
"""Labels that may be true of a clip but not of each chunk of it."""


@dataclass(frozen=True)
class ExampleMaker:
    """Make examples from cuts, in one of the three prompt formats.

    Args:
        is_evaluation: use the paraphrases that are held out from training.
        with_answer: False leaves the answer out, to generate it.
        token_count: number of audio tokens of a clip, for the model that reads the examples.
        tasks: name -> task, those of a recipe's own included.
        wording: question in words that replaces the paraphrases of every task.
        rule: answers of the examples: given, pairs with the label ``rejected``, or sampled.
    """

    vocabulary: Vocabulary
    prompt: Prompt
    is_evaluation: bool = False
    with_answer: bool = True
    token_count: AudioTokenCount = WHISPER
    tasks: Mapping[str, Task] = field(default_factory=lambda: TASKS)
    wording: str | None = None
    rule: AnswerRule = GIVEN

    def num_choices(self, task: str) -> int:
        """Number of paraphrases from which the prompt of a task is drawn."""
        return 1 if task == CHAT else num_choices(find_task(task, self.tasks), self.prompt)

    def templates(self, task: str) -> list[object]:
        """Everything of a task's definition that its prompts depend on."""
        if task == CHAT:
            return []
        found = find_task(task, self.tasks)
        return [found.tags, found.prompts, found.prompts_zh, found.needs, found.num_clips, found.language]

    def is_valid_for_chunks(self, task: str) -> bool:
        """True if the labels of a clip that a task needs are also the labels of each chunk of the clip."""
        return task != CHAT and not TIMED_LABELS.intersection(find_task(task, self.tasks).needs)

    def pieces(self, cut: Cut, task: str, choice: int) -> list[Piece]:
        """Pieces of the conversation, before they are encoded.

        Args:
            choice: number of the paraphrase; any integer.

        Raises:
            DataError: the cut lacks a label its task needs; names the cut.
        """
        labels = self.labels(cut, task)
        try:
            return self.question(labels, task, choice) + self.answer(labels, task)
        except KeyError as error:
            raise DataError(
                f"cut {cut.id!r}: task {task!r} needs the label {error}, which it does not have"
            ) from error
        except DataError as error:
            raise DataError(f"cut {cut.id!r}: {error}") from error

    def question(self, labels: Labels, task: str, choice: int) -> list[Piece]:
        """Pieces before the answer of a task; all pieces of a chat.

        Raises:
            DataError: a label is missing; does not name the cut.
            KeyError: there is no conversation.
        """
        if task == CHAT:
            return render_chat(labels["conversation"], with_answer=self.with_answer)
        found = find_task(task, self.tasks)
        if self.wording is not None:
            found = replace(found, prompts=(self.wording,), prompts_zh=())
        return render(
            found,
            labels,
            prompt=self.prompt,
            choice=choice,
            is_evaluation=self.is_evaluation,
            with_answer=False,
        )

    def answer(self, labels: Labels, task: str) -> list[Piece]:
        """Pieces after the question; none for a chat, or if the answer is left out.

        Raises:
            DataError: a label is missing; does not name the cut.
        """
        if task == CHAT or not self.with_answer:
            return []
        return render_answer(find_task(task, self.tasks), labels, prompt=self.prompt)

    def example(
        self,
        cut: Cut,
        task: str,
        position: int = 0,
        *,
        choice: int = 0,
        source: str = "",
        audio: Cut | None = None,
    ) -> Example:
        """Encode the conversation of a cut under a task.

        Args:
            audio: cut whose clips the conversation is about; None for its own.

        Raises:
            DataError: the cut lacks a label its task needs, has a rejected clip over 30 s, or cannot be encoded; names the cut.
        """
        blank = Example(cut.id, task, position, [], [], [], tuple(num_samples_of(audio or cut)), source)
        if not self.rule.is_paired:
            example = self._encoded(blank, self.pieces(cut, task, choice), cut)
            return self._with_room(example, cut) if self.rule.num_sampled else example
        others = rejected_cut(cut)
        if others is not None:
            check_length(others)
        clips = () if others is None else tuple(num_samples_of(others))
        chosen, rejected = self.pair(cut, task, choice)
        # Without clips of its own, the rejected conversation has the positions of the chosen one's.
        other = self._encoded(replace(blank, num_samples=clips or blank.num_samples), rejected, cut)
        return replace(self._encoded(blank, chosen, cut), rejected=replace(other, num_samples=clips))

    def pair(self, cut: Cut, task: str, choice: int) -> tuple[list[Piece], list[Piece]]:
        """Pieces of the chosen and of the rejected conversation.

        Raises:
            DataError: there is no rejected answer, or it equals the chosen one; names the cut.
        """
        pieces = self.pieces(cut, task, choice)
        has_clips = rejected_cut(cut) is not None
        try:
            return pair_of(self.labels(cut, task), pieces, is_chat=task == CHAT, has_clips=has_clips)
        except DataError as error:
            raise DataError(f"cut {cut.id!r}: {error}") from error

    def _with_room(self, question: Example, cut: Cut) -> Example:
        """Question with its reference answer, and with room for the sampled ones in its pack."""
        num_sampled, max_new_tokens = self.rule.num_sampled, self.rule.max_new_tokens
        room = (num_sampled - 1) * len(question.token_ids) + num_sampled * max_new_tokens
        needs = () if question.task == CHAT else find_task(question.task, self.tasks).needs
        label = "target_language" if "target_language" in needs else "language"
        language = str(labels_of(cut).get(label, UNKNOWN_LANGUAGE))
        return replace(question, target=(self.reference(cut, question.task), language), num_reserved=room)

    def _encoded(self, blank: Example, pieces: Sequence[Piece], cut: Cut) -> Example:
        """Example with the tokens of a rendered conversation.

        Raises:
            DataError: the cut lacks a clip; names the cut.
        """
        try:
            encoded = encode(
                pieces,
                self.vocabulary,
                num_tokens_of_clip=[self.token_count.tokens_in(count) for count in blank.num_samples],
                places=self.places(labels_of(cut)),
            )
        except DataError as error:
            raise DataError(f"cut {cut.id!r}: {error}") from error
        return replace(
            blank,
            token_ids=encoded.token_ids,
            is_learned=encoded.is_learned,
            audio_index=encoded.audio_index,
        )

    def labels(self, cut: Cut | CutFacts, task: str) -> ClipLabels:
        """Labels of a cut.

        Raises:
            DataError: a label that the task needs is ambiguous or invalid; names the cut.
        """
        labels = labels_of(cut)
        for key in ("conversation",) if task == CHAT else find_task(task, self.tasks).needs:
            if key in labels.unclear:
                raise DataError(
                    f"cut {cut.id!r}: task {task!r} needs the label {key!r}: {labels.unclear[key]}"
                )
        return labels

    def places(self, labels: Labels) -> list[tuple[str, int]] | None:
        """Words in audio places, rescaled from the 40 ms of manifests to the audio tokens of the model."""
        places = places_of(labels)
        share = self.token_count.tokens_per_second / TOKENS_PER_SECOND
        if places is None or share == 1:
            return places
        ends = [round(share * end) for end in accumulate(count for _, count in places)]
        return [(text, end - start) for (text, _), start, end in zip(places, [0, *ends], ends, strict=False)]

    def reference(self, cut: Cut | CutFacts, task: str) -> str:
        """Reference answer."""
        labels = self.labels(cut, task)
        if task == CHAT:
            return str(labels["conversation"][-1]["content"][0]["text"])
        return reference(find_task(task, self.tasks), labels, self.prompt)


def with_example(cut: Cut, example: Example) -> Cut:
    """Copy of a cut with its example in ``custom``."""
    return cut.with_custom("example", example)


def placeholder_cut(cut_id: str, task: str, source: str, fault: str, *, is_paired: bool = False) -> Cut:
    """Cut without clips and without labels, in place of one whose line can no longer be read."""
    example = Example(cut_id, task, 0, [0, 0], [False, False], [], (), source)
    example = replace(example, rejected=example) if is_paired else example
    return MonoCut(cut_id, 0.0, 1.0, 0, custom={"example": example, FAULT: fault})
