"""A cut and a task become an example: one conversation, encoded.

Only integers are made here; the audio is read later, by the collator, and
must then be as long as the example promised.
"""

from dataclasses import dataclass
from typing import Literal

from lhotse.cut import Cut

from audio_lm.data.cuts import labels_of, num_samples_of, places_of
from audio_lm.errors import DataError
from audio_lm.prompts.conversation import Piece
from audio_lm.prompts.encode import encode
from audio_lm.prompts.render import reference, render, render_chat
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.runtime import random_for
from audio_lm.tasks.registry import find_task
from audio_lm.units import frames_in, tokens_in

Prompt = Literal["tags", "natural", "chatml"]
CHAT = "chat"


@dataclass(frozen=True, slots=True)
class Example:
    """One conversation ready to train on."""

    cut_id: str
    task: str
    position: int  # in the order of the stage; keys every random choice
    token_ids: list[int]
    is_learned: list[bool]
    audio_index: list[int]
    num_samples: tuple[int, ...]  # of each clip

    def __len__(self) -> int:
        return len(self.token_ids)


@dataclass(frozen=True)
class ExampleMaker:
    """Puts cuts into words, in one of the three languages of prompts.

    Args:
        is_evaluation: use the paraphrases that training never saw.
        with_answer: leave the answer out to have it generated.
    """

    vocabulary: Vocabulary
    prompt: Prompt
    seed: int
    is_evaluation: bool = False
    with_answer: bool = True

    def pieces(self, cut: Cut, task: str, position: int) -> list[Piece]:
        """What is said, before it becomes token ids.

        Raises:
            DataError: the cut lacks a label its task needs; names the cut.
        """
        labels = labels_of(cut)
        try:
            if task == CHAT:
                return render_chat(labels["conversation"], with_answer=self.with_answer)
            return render(
                find_task(task),
                labels,
                prompt=self.prompt,
                rng=random_for(self.seed, "paraphrase", position),
                is_evaluation=self.is_evaluation,
                with_answer=self.with_answer,
            )
        except KeyError as error:
            raise DataError(
                f"cut {cut.id!r}: task {task!r} needs the label {error}, which it does not have"
            ) from error
        except DataError as error:
            raise DataError(f"cut {cut.id!r}: {error}") from error

    def example(self, cut: Cut, task: str, position: int = 0) -> Example:
        """The conversation of a cut under a task."""
        num_samples = num_samples_of(cut)
        pieces = self.pieces(cut, task, position)
        try:
            encoded = encode(
                pieces,
                self.vocabulary,
                num_tokens_of_clip=[tokens_in(frames_in(count)) for count in num_samples],
                places=places_of(labels_of(cut)),
            )
        except DataError as error:
            raise DataError(f"cut {cut.id!r}: {error}") from error
        return Example(
            cut_id=cut.id,
            task=task,
            position=position,
            token_ids=encoded.token_ids,
            is_learned=encoded.is_learned,
            audio_index=encoded.audio_index,
            num_samples=tuple(num_samples),
        )

    def reference(self, cut: Cut, task: str) -> str:
        """What the answer should be."""
        labels = labels_of(cut)
        if task == CHAT:
            return str(labels["conversation"][-1]["content"][0]["text"])
        return reference(find_task(task), labels, self.prompt)
