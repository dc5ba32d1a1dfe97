"""Edits per reference word or character, over a whole benchmark.

Edits and words are summed and divided once; the mean of rates per clip is
another number. jiwer does the counting where there is one speaker.
"""

from collections.abc import Callable, Sequence

import jiwer
import numpy as np
from scipy.optimize import linear_sum_assignment

from audio_lm.metrics.text import SPEAKER_CHANGE, characters, clean, language_of, official


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

    The cheapest order is an assignment, so it need not be searched for.

    Source: CHiME-6, arXiv:2004.09249, section 4.4.
    """
    edits = words = 0
    for said, meant in _turns(answers, references, languages):
        num_turns = max(len(said), len(meant))
        said = said + [[]] * (num_turns - len(said))
        theirs = meant + [[]] * (num_turns - len(meant))
        cost = np.array([[num_edits(a, b) for b in theirs] for a in said])
        edits += int(cost[linear_sum_assignment(cost)].sum())
        words += sum(map(len, meant))
    return _ratio(edits, words)


def ordered_error_rate(answers: Sequence[str], references: Sequence[str], languages: Sequence[str]) -> float:
    """ORC-WER: each reference turn goes to the stream of the answer where it costs least, in order.

    Who spoke is not asked, only that nobody's words are lost: one stream with all turns in order is perfect.

    Source: Sklyar et al., arXiv:2112.10200, section 3.
    """
    edits = words = 0
    for said, meant in _turns(answers, references, languages):
        edits += _cheapest_sharing(said, meant)
        words += sum(map(len, meant))
    return _ratio(edits, words)


def _cheapest_sharing(streams: Sequence[list[str]], turns: Sequence[list[str]]) -> int:
    """Fewest edits when every turn is given to one stream; sets of turns are bits of an integer."""
    words_of = [
        [word for i, turn in enumerate(turns) if given >> i & 1 for word in turn]
        for given in range(1 << len(turns))
    ]
    best = [0, *[sum(map(len, (*streams, *turns))) + 1] * (len(words_of) - 1)]
    for stream in streams:
        cost = [num_edits(stream, words) for words in words_of]
        best = [
            min(best[given ^ ours] + cost[ours] for ours in range(given + 1) if ours & given == ours)
            for given in range(len(words_of))
        ]
    return best[-1]


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
    row = list(range(len(theirs) + 1))
    for i, a in enumerate(ours, start=1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(theirs, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]
