"""Edits per reference word or character, over a whole benchmark.

Edits and words are summed and divided once; the mean of rates per clip is
another number. jiwer counts where there is one speaker, meeteval where turns overlap.
"""

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

import jiwer
import numpy as np
from rapidfuzz.distance import Levenshtein
from scipy.optimize import linear_sum_assignment

from audio_lm.errors import missing_extra
from audio_lm.metrics.text import SPEAKER_CHANGE, characters, clean, language_of, official

EXACT_OPERATIONS = 10_000_000  # of ORC-WER for one clip: about 50 ms


def word_error_rate(answers: Sequence[str], references: Sequence[str], languages: Sequence[str]) -> float:
    """WER without capitals and punctuation; per character in languages that write no blanks, and Korean."""
    return _rate(answers, references, languages, clean)


def word_error_rate_official(
    answers: Sequence[str], references: Sequence[str], languages: Sequence[str]
) -> float:
    """WER as the released script counts it: punctuation are letters."""
    return _rate(answers, references, languages, official)


def character_error_rate(
    answers: Sequence[str], references: Sequence[str], languages: Sequence[str]
) -> float:
    """CER without capitals, punctuation and blanks."""
    return _rate(answers, references, languages, lambda text, language: characters(clean(text, language)))


def speakers_error_rate(answers: Sequence[str], references: Sequence[str], languages: Sequence[str]) -> float:
    """cpWER: each speaker's words as one text, under the order of speakers that costs least.

    The cheapest order is an assignment, so it need not be searched for. The same number as meeteval's
    ``cp_word_error_rate``, without its limit of 20 speakers: an untrained model writes more.

    Source: CHiME-6, arXiv:2004.09249, section 4.4.
    """
    edits = words = 0
    for said, meant in _turns(answers, references, languages):
        cost = _edits_between(meant, said)
        edits += int(cost[linear_sum_assignment(cost)].sum())
        words += sum(map(len, meant))
    return _ratio(edits, words)


def ordered_error_rate(answers: Sequence[str], references: Sequence[str], languages: Sequence[str]) -> float:
    """ORC-WER: each reference turn goes to the stream of the answer where it costs least, in order.

    Who spoke is not asked, only that nobody's words are lost: one stream with all turns in order is perfect.
    The exact search is exponential in the number of streams. It is done where it takes at most
    ``EXACT_OPERATIONS``; beyond, meeteval's greedy search gives an upper bound.

    Raises:
        UserError: meeteval is not installed.

    Source: Sklyar et al., arXiv:2112.10200, section 3; von Neumann et al., arXiv:2307.11394 (meeteval).
    """
    edits = words = 0
    for said, meant in _turns(answers, references, languages):
        edits += _edits_of_best_combination([turn for turn in meant if turn], [turn for turn in said if turn])
        words += sum(map(len, meant))
    return _ratio(edits, words)


def check_meeteval(languages: Collection[str]) -> None:
    """Check that ORC-WER can be computed here.

    Raises:
        UserError: meeteval is not installed.
    """
    _meeteval()


def _edits_of_best_combination(turns: Sequence[list[str]], streams: Sequence[list[str]]) -> int:
    """Fewest edits when every turn is given to one stream."""
    exact, greedy = _meeteval()
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


def _turns(
    answers: Sequence[str], references: Sequence[str], languages: Sequence[str]
) -> list[tuple[list[list[str]], list[list[str]]]]:
    """Words of every turn, of answer and reference."""

    def read(text: str, language: str) -> list[list[str]]:
        return [clean(turn, language).split() for turn in text.split(SPEAKER_CHANGE)]

    codes = list(map(language_of, languages, references))
    return [
        (read(answer, language), read(reference, language))
        for answer, reference, language in zip(answers, references, codes, strict=True)
    ]


def _rate(
    answers: Sequence[str],
    references: Sequence[str],
    languages: Sequence[str],
    read: Callable[[str, str], str],
) -> float:
    codes = list(map(language_of, languages, references))
    said = [read(text, language) for text, language in zip(answers, codes, strict=True)]
    meant = [read(text, language) for text, language in zip(references, codes, strict=True)]
    # jiwer refuses an empty reference; whatever was answered to it is insertions.
    unasked = sum(len(answer.split()) for answer, reference in zip(said, meant, strict=True) if not reference)
    pairs = [(answer, reference) for answer, reference in zip(said, meant, strict=True) if reference]
    if not pairs:
        return _ratio(unasked, 0)
    counted = jiwer.process_words([reference for _, reference in pairs], [answer for answer, _ in pairs])
    edits = counted.substitutions + counted.deletions + counted.insertions + unasked
    return _ratio(edits, sum(len(reference.split()) for _, reference in pairs))


def _ratio(edits: int, words: int) -> float:
    """Where no word was asked for, whatever was said is all wrong."""
    return edits / words if words else float(edits > 0)


def num_edits(ours: Sequence[str], theirs: Sequence[str]) -> int:
    """Insertions, deletions and substitutions between two sequences.

    >>> num_edits("kitten", "sitting")
    3
    """
    return int(Levenshtein.distance(ours, theirs))
