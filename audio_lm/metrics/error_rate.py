"""Edits per reference word or character, over a whole benchmark.

Edits and words are summed and divided once; the mean of rates per clip is
another number. meeteval counts where turns overlap.
"""

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
from rapidfuzz.distance import Levenshtein
from scipy.optimize import linear_sum_assignment

from audio_lm.common.errors import missing_extra
from audio_lm.metrics.clip_metric import SumMetric
from audio_lm.metrics.text import SPEAKER_CHANGE, characters, clean, language_of, official

EXACT_OPERATIONS = 10_000_000  # of ORC-WER for one clip: about 50 ms


class WordErrorRate(SumMetric):
    """WER without capitals and punctuation; per character in languages that write no blanks, and Korean."""

    def count(self, answer: str, reference: str, language: str) -> tuple[int, int]:
        code = language_of(language, reference)
        said, meant = (self.read(text, code).split() for text in (answer, reference))
        return num_edits(said, meant), len(meant)

    def read(self, text: str, language: str) -> str:
        """The words that are compared, with blanks between them."""
        return clean(text, language)

    def value(self, edits: int, words: int) -> float:
        """Edits per word; where no word was asked for, whatever was said is all wrong."""
        return edits / words if words else float(edits > 0)


class OfficialWordErrorRate(WordErrorRate):
    """WER as the released script counts it: punctuation are letters."""

    def read(self, text: str, language: str) -> str:
        return official(text, language)


class CharacterErrorRate(WordErrorRate):
    """CER without capitals, punctuation and blanks."""

    def read(self, text: str, language: str) -> str:
        return characters(clean(text, language))


class SpeakerErrorRate(WordErrorRate):
    """cpWER: each speaker's words as one text, under the order of speakers that costs least.

    The cheapest order is an assignment, so it need not be searched for. The same number as meeteval's
    ``cp_word_error_rate``, without its limit of 20 speakers: an untrained model writes more.

    Source: CHiME-6, arXiv:2004.09249, section 4.4.
    """

    def count(self, answer: str, reference: str, language: str) -> tuple[int, int]:
        code = language_of(language, reference)
        said, meant = (
            [self.read(turn, code).split() for turn in text.split(SPEAKER_CHANGE)]
            for text in (answer, reference)
        )
        return self.edits(meant, said), sum(map(len, meant))

    def edits(self, meant: Sequence[list[str]], said: Sequence[list[str]]) -> int:
        """Fewest edits between the turns of reference and answer."""
        cost = _edits_between(meant, said)
        return int(cost[linear_sum_assignment(cost)].sum())


class TurnErrorRate(SpeakerErrorRate):
    """ORC-WER: each reference turn goes to the stream of the answer where it costs least, in order.

    Who spoke is not asked, only that nobody's words are lost: one stream with all turns in order is perfect.
    The exact search is exponential in the number of streams. It is done where it takes at most
    ``EXACT_OPERATIONS``; beyond, meeteval's greedy search gives an upper bound.

    Source: Sklyar et al., arXiv:2112.10200, section 3; von Neumann et al., arXiv:2307.11394 (meeteval).
    """

    @classmethod
    def check(cls, languages: Collection[str]) -> None:
        _meeteval()

    def edits(self, meant: Sequence[list[str]], said: Sequence[list[str]]) -> int:
        """Fewest edits when every turn is given to one stream.

        Raises:
            UserError: meeteval is not installed.
        """
        exact, greedy = _meeteval()
        turns, streams = ([turn for turn in side if turn] for side in (meant, said))
        if not turns or not streams:
            return sum(map(len, (*turns, *streams)))
        states = math.prod(len(stream) + 1 for stream in streams)
        if states * sum(map(len, turns)) * len(streams) <= EXACT_OPERATIONS:
            return int(exact([turns], streams)[0])
        return _bound_of_best_combination(turns, streams, greedy)


def _bound_of_best_combination(
    turns: Sequence[list[str]], streams: Sequence[list[str]], greedy: Callable[..., Any]
) -> int:
    """What a search finds that starts from the cheapest order of speakers, or that order where it costs less."""
    cost = _edits_between(turns, streams)
    rows, assigned = linear_sum_assignment(cost)
    nearest = cost[:, : len(streams)].argmin(axis=1)
    start = [int(assigned[i] if assigned[i] < len(streams) else nearest[i]) for i in range(len(turns))]
    number_of = {word: n for n, word in enumerate({word for row in (*turns, *streams) for word in row})}
    numbers = [[[number_of[word] for word in row] for row in side] for side in (turns, streams)]
    return min(int(greedy(*numbers, start)[0]), int(cost[rows, assigned].sum()))


def _edits_between(ours: Sequence[list[str]], theirs: Sequence[list[str]]) -> np.ndarray:
    """Edits between every two rows of words, square: what one side has not is empty."""
    size = max(len(ours), len(theirs))
    rows, columns = ([*side, *[[]] * (size - len(side))] for side in (ours, theirs))
    return np.array([[num_edits(a, b) for b in columns] for a in rows])


def _meeteval() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The exact and the greedy search."""
    try:
        from meeteval.wer.matching.greedy_combination_matching import greedy_combination_matching
        from meeteval.wer.matching.mimo_matching import mimo_matching
    except ImportError as error:
        raise missing_extra("meeteval", extra="eval", purpose="ORC-WER") from error
    return mimo_matching, greedy_combination_matching


def num_edits(ours: Sequence[str], theirs: Sequence[str]) -> int:
    """Insertions, deletions and substitutions between two sequences.

    >>> num_edits("kitten", "sitting")
    3
    """
    return int(Levenshtein.distance(ours, theirs))
