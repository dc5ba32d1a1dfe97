"""Rows of dialogues and pairs by templates: drawn by a seed, without a model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from audio_lm.corpora.synthetic.known_clips import (
    Exchange,
    KnownClip,
    Pools,
    choose_clip,
    choose_question,
    conversation_labels,
    exchange_about,
)
from audio_lm.corpora.synthetic.preferences import Pair, draw_pair
from audio_lm.corpora.synthetic.several import several_exchanges
from audio_lm.corpora.synthetic.split_random import SplitRandom

MAX_TURNS = 3

Row = dict[str, Any]
"""Row of the format ``dialogues``."""


@dataclass(frozen=True)
class SynthesisConfig:
    """Number and kinds of rows."""

    num_rows: int = 1000

    pairs: float = 0.0
    """Share of rows with a rejected answer; half of them are about several clips."""

    several: float = 0.5
    """Share of the other rows that are about two or three clips."""

    seed: int = 0


def template_rows(pools: Pools, config: SynthesisConfig, split: str) -> Iterator[Row]:
    """Draw rows; equal pools, configurations and splits give equal rows.

    Raises:
        DataError: pairs are wanted and all clips have the same labels.
    """
    for number in range(config.num_rows):
        random = SplitRandom(split, config.seed, "synthesis", number)
        if random.bernoulli(config.pairs):
            pair = draw_pair(pools, random)
            made = {"by": "templates", "seed": config.seed, "corruption": pair.corruption}
            yield {**_row(number, pair.exchanges, made), **_of_pair(pair)}
        else:
            is_several = random.bernoulli(config.several)
            exchanges = (several_exchanges if is_several else _about_one)(pools, random)
            yield _row(number, exchanges, {"by": "templates", "seed": config.seed})


def reference(clip: KnownClip) -> dict[str, str]:
    """Audio of a row: a cut of its cut-set."""
    return {"cut": f"{clip.source}/{clip.cut.id}"}


def _about_one(pools: Pools, random: SplitRandom) -> list[Exchange]:
    """One to three questions about one clip."""
    question = choose_question(pools, random)
    clip = choose_clip(pools, question, random)
    others = [name for name in pools.table.names_for(clip) if name != question.name]
    names = random.choose_distinct(others, random.integer(0, MAX_TURNS - 1))
    first = exchange_about(clip, question, random, (clip,))
    return [first, *(exchange_about(clip, pools.table.question(name), random) for name in names)]


def _row(number: int, exchanges: Sequence[Exchange], made: dict[str, Any]) -> Row:
    clips = [clip for exchange in exchanges for clip in exchange.new_clips]
    return {
        "id": f"dialogue-{number:06d}",
        "audios": [reference(clip) for clip in clips],
        "turns": conversation_labels(exchanges)["conversation"],
        "made": made,
    }


def _of_pair(pair: Pair) -> Row:
    """Fields of a row that are those of a pair."""
    if pair.rejected_clips:
        return {"rejected_audios": [reference(clip) for clip in pair.rejected_clips]}
    turns = conversation_labels(pair.exchanges)["conversation"]
    return {"turns": [*turns[:-1], {**turns[-1], "rejected": pair.rejected}]}
