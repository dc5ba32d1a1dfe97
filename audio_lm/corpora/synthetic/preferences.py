"""Pairs of a right and a wrong answer, for the objective ``dpo``.

The last answer of a conversation has one fact changed: a wrong count, a swapped order, a dropped word, another speaker, a
sound that is not there, another clip. In a sixth of the pairs the answer stays and a clip is another one
(``rejected_audio_1`` ... of the cut), to which the answer is wrong. Half of the pairs are about several clips.

Source: another audio for the same answer, arXiv:2604.14129.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audio_lm.common.errors import DataError
from audio_lm.corpora.synthetic.corruptions import corrupt
from audio_lm.corpora.synthetic.known_clips import (
    Exchange,
    KnownClip,
    Pools,
    choose_clip,
    choose_question,
    conversation_labels,
    draws_of_subset,
    exchange_about,
)
from audio_lm.corpora.synthetic.several import several_exchanges
from audio_lm.corpora.synthetic.split_random import SplitRandom
from audio_lm.corpora.synthetic.writing import CutWriter

SUBSET = "preferences"
SEVERAL_SHARE = 0.5
OTHER_AUDIO_SHARE = 1 / 3  # of the pairs about one clip
MAX_DRAWS = 50
MAX_OPTIONS = 100  # answers of other clips, from which a wrong one is made


@dataclass(frozen=True)
class Pair:
    """Conversation with a rejected answer, or with other clips to which the answer is wrong."""

    exchanges: Sequence[Exchange]
    rejected: str
    """Rejected last answer; equal to the right one if the clips are others."""
    rejected_clips: Sequence[KnownClip] = ()
    corruption: str = "another audio"
    """Kind of the change."""


def write_preferences(writer: CutWriter, *, clips: Mapping[str, int], seed: int) -> None:
    """Write ``preferences`` in three splits, from the clips written before; see ``draws_of_subset``."""
    for split, pools, random in draws_of_subset(writer, SUBSET, clips=clips, seed=seed):
        pair = draw_pair(pools, random)
        writer.add_conversation(
            f"{SUBSET}-{split}",
            [clip.cut for exchange in pair.exchanges for clip in exchange.new_clips],
            pair_labels(pair),
            rejected_clips=[clip.cut for clip in pair.rejected_clips],
        )


def pair_labels(pair: Pair) -> dict[str, Any]:
    """Labels ``conversation`` and ``rejected``; the latter is a conversation if its clips are others."""
    labels = conversation_labels(pair.exchanges)
    rejected = labels["conversation"] if pair.rejected_clips else pair.rejected
    honesty = {**labels["honesty"], "rejected": labels["honesty"]["conversation"]}
    return {**labels, "rejected": rejected, "honesty": honesty}


def draw_pair(pools: Pools, random: SplitRandom) -> Pair:
    """Draw a conversation about one clip or several, and what is wrong in its rejected answer.

    Raises:
        DataError: all clips have the same labels.
    """
    for _ in range(MAX_DRAWS):
        if random.bernoulli(SEVERAL_SHARE):
            pair = _with_other_answer(several_exchanges(pools, random), pools, random)
        else:
            question = choose_question(pools, random)
            clip = choose_clip(pools, question, random)
            exchanges = [exchange_about(clip, question, random, (clip,))]
            is_audio = random.bernoulli(OTHER_AUDIO_SHARE)
            pair = (_with_other_audio if is_audio else _with_other_answer)(exchanges, pools, random)
        if pair is not None:
            return pair
    raise DataError(
        "no wrong answer can be made, because all clips have the same labels; add clips with others"
    )


def _with_other_answer(exchanges: Sequence[Exchange], pools: Pools, random: SplitRandom) -> Pair | None:
    last = exchanges[-1]
    options = last.options or random.choose_distinct(pools.answers[last.about], MAX_OPTIONS)
    question = pools.table.question(last.about) if last.about else None
    corrupted = corrupt(question, last.answer, options, random)
    return None if corrupted is None else Pair(exchanges, corrupted[1], corruption=corrupted[0])


def _with_other_audio(exchanges: Sequence[Exchange], pools: Pools, random: SplitRandom) -> Pair | None:
    last = exchanges[-1]
    others = [answer for answer in pools.answers[last.about] if answer != last.answer]
    if not others:
        return None
    clip = random.choice(pools[last.about][random.choice(others)])
    return Pair(exchanges, last.answer, (clip,))
