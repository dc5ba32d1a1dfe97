"""Edits per reference word or character, over a whole benchmark.

Edits and words are summed and divided once; the mean of rates per clip is
another number. jiwer does the counting.
"""

from collections.abc import Callable, Sequence
from itertools import permutations

import jiwer

from audio_lm.metrics.text import characters, clean, official

SPEAKER_CHANGE = "<sc>"


def word_error_rate(answers: Sequence[str], references: Sequence[str], languages: Sequence[str]) -> float:
    """WER without capitals and punctuation; per character in Chinese and Japanese."""
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

    Source: CHiME-6, arXiv:2004.09249, section 4.4.
    """
    edits = words = 0
    for answer, reference, language in zip(answers, references, languages, strict=True):
        said, meant = (
            [clean(turn, language) for turn in text.split(SPEAKER_CHANGE)] for text in (answer, reference)
        )
        length = max(len(said), len(meant))
        meant += [""] * (length - len(meant))
        said = (said + [""] * (length - len(said)))[:length]
        edits += min(
            sum(num_edits(a.split(), b.split()) for a, b in zip(order, meant, strict=True))
            for order in permutations(said[:6])
        )
        words += sum(len(turn.split()) for turn in meant)
    return edits / max(1, words)


def _rate(
    answers: Sequence[str],
    references: Sequence[str],
    languages: Sequence[str],
    read: Callable[[str, str], str],
) -> float:
    said = [read(text, language) for text, language in zip(answers, languages, strict=True)]
    meant = [read(text, language) for text, language in zip(references, languages, strict=True)]
    # jiwer refuses an empty reference; whatever was answered to it is insertions.
    unasked = sum(len(answer.split()) for answer, reference in zip(said, meant, strict=True) if not reference)
    pairs = [(answer, reference) for answer, reference in zip(said, meant, strict=True) if reference]
    num_words = sum(len(reference.split()) for _, reference in pairs)
    if not num_words:
        return float(unasked > 0)
    counted = jiwer.process_words([reference for _, reference in pairs], [answer for answer, _ in pairs])
    return (counted.substitutions + counted.deletions + counted.insertions + unasked) / num_words


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
