"""Conversations about clips of other subsets, for the task chat.

Most have one question about one clip; some have two or three questions, a second clip, or compare two clips. A split
uses only clips of the same split. Questions are in ``questions.py``, conversations without a clip in
``text_dialogues.py``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from audio_lm.corpora.synthetic.comparisons import WHICH_AUDIO, Comparison
from audio_lm.corpora.synthetic.known_clips import (
    Exchange,
    KnownClip,
    Pools,
    choose_clip,
    choose_question,
    conversation_labels,
    draws_of_subset,
    exchange_about,
    weakest_honesty,
)
from audio_lm.corpora.synthetic.split_random import SplitRandom
from audio_lm.corpora.synthetic.text_dialogues import text_conversation
from audio_lm.corpora.synthetic.writing import CutWriter

DIALOGUE_SUBSETS = ("dialogues", "dialogues_text")
SHARE_OF_FORM = {"one": 0.58, "more_turns": 0.22, "second_clip": 0.1, "comparison": 0.1}
MAX_TURNS = 3


def write_dialogues(writer: CutWriter, *, clips: Mapping[str, int], seed: int) -> None:
    """Write ``dialogues`` in three splits and ``dialogues_text-train``, from the clips written before.

    Args:
        clips: number of training rows under ``dialogues`` and ``dialogues_text`` (absent or 0:
            not written), and of validation and test rows under ``validation`` and ``test``.

    Raises:
        DataError: no clip answers a question.
    """
    for split, pools, random in draws_of_subset(writer, "dialogues", clips=clips, seed=seed):
        exchanges = _exchanges(pools, random)
        waves = [clip.wave for exchange in exchanges for clip in exchange.new_clips]
        writer.add(f"dialogues-{split}", waves[0], conversation_labels(exchanges), more_waves=waves[1:])
    for number in range(clips.get("dialogues_text", 0)):
        conversation = text_conversation(SplitRandom("train", seed, "dialogues_text", number))
        labels = {"conversation": conversation, "honesty": {"conversation": "exact"}}
        writer.add("dialogues_text-train", None, labels)


def _exchanges(pools: Pools, random: SplitRandom) -> list[Exchange]:
    """Draw the questions and answers of one conversation."""
    form = random.weighted_choice(tuple(SHARE_OF_FORM), tuple(SHARE_OF_FORM.values()))
    if form == "comparison" and (exchange := draw_comparison(pools, random)):
        return [exchange]
    question = choose_question(pools, random)
    clip = choose_clip(pools, question, random)
    first = exchange_about(clip, question, random, new_clips=(clip,))
    if form == "second_clip":
        return [first, _about_second_clip(pools, clip, random)]
    if form == "more_turns":
        others = [
            other for other in pools.table.questions if other.name in clip.answers and other is not question
        ]
        others = random.choose_distinct(others, random.integer(1, MAX_TURNS - 1))
        return [first, *(exchange_about(clip, other, random) for other in others)]
    return [first]


def _about_second_clip(pools: Pools, first: KnownClip, random: SplitRandom) -> Exchange:
    """Draw a second clip, and a question about it or, one time in four, about the first."""
    question = choose_question(pools, random)
    second = choose_clip(pools, question, random)
    number, clip = ("1", first) if random.bernoulli(0.25) else ("2", second)
    if clip is first:
        question = pools.table.question(random.choice(pools.table.names_for(first)))
    exchange = exchange_about(clip, question, random, new_clips=(second,))
    words = WHICH_AUDIO.choose(random, number=number, question=exchange.question)
    return replace(exchange, question=words)


def draw_comparison(pools: Pools, random: SplitRandom) -> Exchange | None:
    """Draw two clips and a question about both; None if no pair answers one."""
    possible = [
        comparison
        for comparison in pools.table.comparisons
        if len(pools.clips.get(comparison.question, ())) > 1
    ]
    if not possible:
        return None
    comparison = random.choice(possible)
    target = random.choice(comparison.answers)
    pair = _pair(pools[comparison.question], comparison, target, random)
    if pair is None:
        return None
    weakest = weakest_honesty(clip.honesty[comparison.question] for clip in pair)
    return Exchange(comparison.wordings.choose(random), target, weakest, pair, comparison.answers)


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
