"""Conversations about clips of other subsets, for the task chat.

Most have one question about one clip; some have two or three questions, a second clip, or compare two clips. A split
uses only clips of the same split. Questions are in ``questions.py``, conversations without a clip in
``text_dialogues.py``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lhotse import MonoCut

from audio_lm.common.audio_units import Seconds
from audio_lm.common.errors import DataError
from audio_lm.common.source_name import SPLITS
from audio_lm.corpora.synthetic.comparisons import COMPARISONS, WHICH_AUDIO, Comparison
from audio_lm.corpora.synthetic.questions import QUESTIONS, Question
from audio_lm.corpora.synthetic.split_random import SplitRandom
from audio_lm.corpora.synthetic.text_dialogues import text_conversation
from audio_lm.corpora.synthetic.writing import CutWriter
from audio_lm.data.audio.decode import Wave
from audio_lm.data.audio.recordings import samples_of

DIALOGUE_SUBSETS = ("dialogues", "dialogues_text")
MAX_CLIP_SECONDS: Seconds = 5.0  # of a clip with a question
SHARE_OF_FORM = {"one": 0.58, "more_turns": 0.22, "second_clip": 0.1, "comparison": 0.1}
MAX_TURNS = 3
NOT_SINGLE_CLIP_LABELS = frozenset(
    {"texts", "turns", "same_speaker", "conversation", "places"}
)  # not a single plain clip
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

    @property
    def wave(self) -> Wave:
        """Samples of the stored clip."""
        return samples_of(self.cut, ())[0][0]


Pools = Mapping[str, Mapping[str, Sequence[KnownClip]]]
"""Name of a question -> answer -> clips."""


@dataclass(frozen=True)
class Exchange:
    """Question, answer, and the clips that the question adds."""

    question: str
    answer: str
    honesty: str
    new_clips: tuple[KnownClip, ...] = ()


def write_dialogues(writer: CutWriter, *, clips: Mapping[str, int], seed: int) -> None:
    """Write ``dialogues`` in three splits and ``dialogues_text-train``, from the clips written before.

    Args:
        clips: number of training rows under ``dialogues`` and ``dialogues_text`` (absent or 0:
            not written), and of validation and test rows under ``validation`` and ``test``.

    Raises:
        DataError: no clip answers a question.
    """
    for split in SPLITS if clips.get("dialogues", 0) else ():
        pools = known_clips(writer, split)
        num_rows = clips["dialogues" if split == "train" else split]
        if num_rows and not pools:
            raise DataError(
                f"no clip for 'dialogues-{split}' -- dialogues are about clips of other subsets; "
                f"let one of them have clips, or set dialogues to 0"
            )
        for number in range(num_rows):
            exchanges = _exchanges(pools, SplitRandom(split, seed, "dialogues", number))
            waves = [clip.wave for exchange in exchanges for clip in exchange.new_clips]
            labels = _labels(exchanges)
            writer.add(f"dialogues-{split}", waves[0], labels, more_waves=waves[1:])
    for number in range(clips.get("dialogues_text", 0)):
        conversation = text_conversation(SplitRandom("train", seed, "dialogues_text", number))
        labels = {"conversation": conversation, "honesty": {"conversation": "exact"}}
        writer.add("dialogues_text-train", None, labels)


def known_clips(writer: CutWriter, split: str) -> dict[str, dict[str, list[KnownClip]]]:
    """Clips of a split, by question and answer.

    Subsets without training clips are left out, because they are for separate evaluations.
    """
    pools: dict[str, dict[str, list[KnownClip]]] = {}
    subsets = [name.removesuffix("-train") for name in writer.subset_splits if name.endswith("-train")]
    for subset in subsets:
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


def _exchanges(pools: Pools, random: SplitRandom) -> list[Exchange]:
    """Draw the questions and answers of one conversation."""
    form = random.weighted_choice(tuple(SHARE_OF_FORM), tuple(SHARE_OF_FORM.values()))
    if form == "comparison" and (exchange := _comparison(pools, random)):
        return [exchange]
    question = _choose_question(pools, random)
    clip = _choose_clip(pools, question, random)
    first = _exchange_about(clip, question, random, new_clips=(clip,))
    if form == "second_clip":
        return [first, _about_second_clip(pools, clip, random)]
    if form == "more_turns":
        others = [other for other in QUESTIONS if other.name in clip.answers and other is not question]
        others = random.choose_distinct(others, random.integer(1, MAX_TURNS - 1))
        return [first, *(_exchange_about(clip, other, random) for other in others)]
    return [first]


def _about_second_clip(pools: Pools, first: KnownClip, random: SplitRandom) -> Exchange:
    """Draw a second clip, and a question about it or, one time in four, about the first."""
    question = _choose_question(pools, random)
    second = _choose_clip(pools, question, random)
    number, clip = ("1", first) if random.bernoulli(0.25) else ("2", second)
    if clip is first:
        question = QUESTION_OF_NAME[random.choice(tuple(first.answers))]
    exchange = _exchange_about(clip, question, random, new_clips=(second,))
    words = WHICH_AUDIO.choose(random, number=number, question=exchange.question)
    return Exchange(words, exchange.answer, exchange.honesty, exchange.new_clips)


def _comparison(pools: Pools, random: SplitRandom) -> Exchange | None:
    """Draw two clips and a question about both; None if no pair answers one."""
    possible = [comparison for comparison in COMPARISONS if len(pools.get(comparison.question, ())) > 1]
    if not possible:
        return None
    comparison = random.choice(possible)
    target = random.choice(comparison.answers)
    pair = _pair(pools[comparison.question], comparison, target, random)
    if pair is None:
        return None
    weakest = max((clip.honesty[comparison.question] for clip in pair), key=HONESTY_ORDER.index)
    return Exchange(comparison.wordings.choose(random), target, weakest, pair)


def _pair(
    clips_of_answer: Mapping[str, Sequence[KnownClip]],
    comparison: Comparison,
    target: str,
    random: SplitRandom,
) -> tuple[KnownClip, KnownClip] | None:
    """Draw two different clips whose comparison gives the target answer."""
    answers = sorted(clips_of_answer)
    pairs = [(a, b) for a in answers for b in answers if comparison.answer(a, b) == target]
    pairs = [(a, b) for a, b in pairs if a != b or len(clips_of_answer[a]) > 1]
    if not pairs:
        return None
    a, b = random.choice(pairs)
    if a == b:
        first, second = random.choose_distinct(clips_of_answer[a], 2)
        return first, second
    return random.choice(clips_of_answer[a]), random.choice(clips_of_answer[b])


def _choose_question(pools: Pools, random: SplitRandom) -> Question:
    """Draw a question by its share, among those that some clip answers."""
    possible = [question for question in QUESTIONS if question.name in pools]
    return random.weighted_choice(possible, [question.share for question in possible])


def _choose_clip(pools: Pools, question: Question, random: SplitRandom) -> KnownClip:
    """Draw a clip that answers the question; all answers are equally frequent."""
    clips_of_answer = pools[question.name]
    return random.choice(clips_of_answer[random.choice(sorted(clips_of_answer))])


def _exchange_about(
    clip: KnownClip, question: Question, random: SplitRandom, new_clips: tuple[KnownClip, ...] = ()
) -> Exchange:
    words = question.wordings.choose(random)
    return Exchange(words, clip.answers[question.name], clip.honesty[question.name], new_clips)


def _labels(exchanges: Sequence[Exchange]) -> dict[str, Any]:
    """Label ``conversation``; its honesty is that of its weakest answer."""
    turns: list[TurnDict] = []
    num_clips = 0
    for exchange in exchanges:
        content: list[dict[str, Any]] = []
        for _ in exchange.new_clips:
            num_clips += 1
            content.append({"audio": num_clips})
        turns.append({"role": "user", "content": [*content, {"text": exchange.question}]})
        turns.append({"role": "assistant", "content": [{"text": exchange.answer}]})
    weakest = max((exchange.honesty for exchange in exchanges), key=HONESTY_ORDER.index)
    return {"conversation": turns, "honesty": {"conversation": weakest}}
