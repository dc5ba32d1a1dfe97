"""Clips with the answers that their labels give, and exchanges of question and answer about them.

Shared by the kinds of conversations: ``dialogues``, ``several``, ``spoken`` and ``preferences``.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lhotse import MonoCut

from audio_lm.common.audio_units import Seconds
from audio_lm.common.errors import DataError
from audio_lm.common.source_name import SPLITS
from audio_lm.corpora.synthetic.comparisons import COMPARISONS, Comparison
from audio_lm.corpora.synthetic.questions import QUESTIONS, Question
from audio_lm.corpora.synthetic.split_random import SplitRandom
from audio_lm.corpora.synthetic.writing import CutWriter
from audio_lm.data.audio.decode import Wave
from audio_lm.data.audio.recordings import samples_of

MAX_CLIP_SECONDS: Seconds = 5.0  # of a clip with a question
NOT_SINGLE_CLIP_LABELS = frozenset(
    {"texts", "turns", "same_speaker", "conversation", "places"}
)  # not a single plain clip
NOT_FOR_QUESTIONS = ("spoken_questions",)  # subsets whose clips are questions themselves
HONESTY_ORDER = ("exact", "declared", "proxy")

TurnDict = dict[str, Any]
QUESTION_OF_NAME = {question.name: question for question in QUESTIONS}


@dataclass(frozen=True)
class KnownClip:
    """Clip with the answers that its labels give."""

    cut: MonoCut
    answers: Mapping[str, str]
    """Name of a question -> answer."""
    honesty: Mapping[str, str]
    """Name of a question -> honesty of its answer."""
    source: str = ""
    """Cut-set of the cut, if it is of another corpus."""

    @property
    def wave(self) -> Wave:
        """Samples of the stored clip."""
        return samples_of(self.cut, ())[0][0]


@dataclass(frozen=True)
class QuestionTable:
    """Questions that conversations are made of."""

    questions: Sequence[Question]
    """About one clip."""

    comparisons: Sequence[Comparison]
    """About two clips."""

    things: Mapping[str, str]
    """Name of a question -> its answer as the thing that a clip contains."""

    compared: Sequence[Question] = ()
    """Questions whose answers are compared only."""

    def question(self, name: str) -> Question:
        """Question of a name."""
        return next(question for question in (*self.questions, *self.compared) if question.name == name)

    def names_for(self, clip: KnownClip) -> list[str]:
        """Names of the questions that a clip answers, without those that are compared only."""
        return [question.name for question in self.questions if question.name in clip.answers]


SYNTHETIC = QuestionTable(
    QUESTIONS,
    COMPARISONS,
    {
        "event": "the {answer}",
        "instrument": "the {answer}",
        "nature": "the {answer}",
        "gender": "the {answer} voice",
        "language": "{answer}",
        "command": "the command {answer}",
        "digits": "the digits {answer}",
    },
)


@dataclass(frozen=True)
class Pools:
    """Clips of a split, and the questions about them."""

    clips: Mapping[str, Mapping[str, Sequence[KnownClip]]]
    """Name of a question -> answer -> clips."""

    table: QuestionTable = SYNTHETIC

    @cached_property
    def answers(self) -> Mapping[str, Sequence[str]]:
        """Name of a question -> its answers, sorted."""
        return {name: sorted(clips_of_answer) for name, clips_of_answer in self.clips.items()}

    def __getitem__(self, name: str) -> Mapping[str, Sequence[KnownClip]]:
        """Clips of a question, by answer."""
        return self.clips[name]

    def __contains__(self, name: str) -> bool:
        return name in self.clips


@dataclass(frozen=True)
class Exchange:
    """Question, answer, and the clips that the question adds."""

    question: str
    answer: str
    honesty: str
    new_clips: tuple[KnownClip, ...] = ()
    options: tuple[str, ...] = ()
    """All answers that a question about several clips may have, for rejected answers."""
    about: str = ""
    """Name of the question, if it is about one clip."""


def pools_of(writer: CutWriter, split: str, subset: str) -> Pools:
    """Clips for the conversations of a subset.

    Raises:
        DataError: no clip answers a question.
    """
    pools = Pools(known_clips(writer, split))
    if not pools.clips:
        raise DataError(
            f"no clip for '{subset}-{split}' -- {subset} are about clips of other subsets; "
            f"let one of them have clips, or set {subset} to 0"
        )
    return pools


def draws_of_subset(
    writer: CutWriter, subset: str, *, clips: Mapping[str, int], seed: int
) -> Iterator[tuple[str, Pools, SplitRandom]]:
    """Yield (split, clips to draw from, random numbers) for each row of a subset made of clips written before.

    Args:
        clips: number of training rows under ``subset`` (absent or 0: no rows at all), and of validation
            and test rows under ``validation`` and ``test``.

    Raises:
        DataError: no clip answers a question.
    """
    for split in SPLITS if clips.get(subset, 0) else ():
        num_rows = clips[subset if split == "train" else split]
        pools = pools_of(writer, split, subset) if num_rows else Pools({})
        for number in range(num_rows):
            yield split, pools, SplitRandom(split, seed, subset, number)


def known_clips(writer: CutWriter, split: str) -> dict[str, dict[str, list[KnownClip]]]:
    """Clips of a split, by question and answer.

    Subsets without training clips are left out, because they are for separate evaluations.
    """
    pools: dict[str, dict[str, list[KnownClip]]] = {}
    subsets = [name.removesuffix("-train") for name in writer.subset_splits if name.endswith("-train")]
    for subset in subsets:
        if subset in NOT_FOR_QUESTIONS:
            continue
        for cut in writer.cuts(f"{subset}-{split}"):
            if (clip := _known_clip(cut)) is None:
                continue
            for name, answer in clip.answers.items():
                pools.setdefault(name, {}).setdefault(answer, []).append(clip)
    return pools


def _known_clip(cut: MonoCut) -> KnownClip | None:
    """Answers of a clip; None if it is not a single short clip."""
    supervision = cut.supervisions[0]
    labels = {**(supervision.custom or {}), "language": supervision.language, "text": supervision.text}
    if not cut.has_recording or cut.duration > MAX_CLIP_SECONDS or NOT_SINGLE_CLIP_LABELS & labels.keys():
        return None
    answers = {
        question.name: answer for question in QUESTIONS if (answer := question.answer(labels)) is not None
    }
    honesty_of_label = labels.get("honesty", {})
    honesty = {name: honesty_of_label.get(QUESTION_OF_NAME[name].label, "exact") for name in answers}
    return KnownClip(cut, answers, honesty)


def choose_question(pools: Pools, random: SplitRandom) -> Question:
    """Draw a question by its share, among those that some clip answers."""
    possible = [question for question in pools.table.questions if question.name in pools]
    return random.weighted_choice(possible, [question.share for question in possible])


def choose_clip(pools: Pools, question: Question, random: SplitRandom) -> KnownClip:
    """Draw a clip that answers the question; all answers are equally frequent."""
    answer = random.choice(pools.answers[question.name])
    return random.choice(pools[question.name][answer])


def exchange_about(
    clip: KnownClip, question: Question, random: SplitRandom, new_clips: tuple[KnownClip, ...] = ()
) -> Exchange:
    """Question about one clip, in a wording of the split."""
    words = question.wordings.choose(random)
    return Exchange(
        words, clip.answers[question.name], clip.honesty[question.name], new_clips, about=question.name
    )


def weakest_honesty(honesties: Iterable[str]) -> str:
    """Honesty of a whole, which is that of its weakest part."""
    return max(honesties, key=HONESTY_ORDER.index)


def conversation_labels(exchanges: Sequence[Exchange]) -> dict[str, Any]:
    """Label ``conversation``; its honesty is that of its weakest answer. A question without words is spoken."""
    turns: list[TurnDict] = []
    num_clips = 0
    for exchange in exchanges:
        content: list[dict[str, Any]] = []
        for _ in exchange.new_clips:
            num_clips += 1
            content.append({"audio": num_clips})
        words = [{"text": exchange.question}] if exchange.question else []
        turns.append({"role": "user", "content": [*content, *words]})
        turns.append({"role": "assistant", "content": [{"text": exchange.answer}]})
    weakest = weakest_honesty(exchange.honesty for exchange in exchanges)
    return {"conversation": turns, "honesty": {"conversation": weakest}}
