"""Word and character error rates over a whole benchmark.

Edits and reference words are summed over all clips and divided once, which differs from the mean of the clips'
rates. meeteval computes ORC-WER, for speech of several speakers.
"""

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

import numpy as np
from rapidfuzz.distance import Levenshtein
from scipy.optimize import linear_sum_assignment

from audio_lm.common.errors import missing_extra
from audio_lm.metrics.clean_chinese import LANGUAGES as CHINESE
from audio_lm.metrics.clean_chinese import check_clean_chinese, normalize_clean_chinese
from audio_lm.metrics.clip_metric import SumMetric
from audio_lm.metrics.published_text import (
    check_qwen2_audio,
    normalize_kimi_audio,
    normalize_qwen2_audio,
    normalize_qwen_audio,
    normalize_spoken_english,
    normalize_ultraeval,
)
from audio_lm.metrics.spoken_chinese import spoken_chinese
from audio_lm.metrics.text import SPEAKER_CHANGE, language_of, normalize, plain_transcript, split_characters

SPOKEN_CHINESE = frozenset({"zh", "yue"})  # numbers are written with the same characters
EXACT_OPERATIONS = 10_000_000  # limit of the exact ORC-WER search per clip, about 50 ms


class WordErrorRate(SumMetric):
    """WER without case and punctuation; per character in languages written without spaces, and in Korean.

    Numbers, contractions and spellings are compared as written; ``metrics.text.normalize`` has all rules.
    """

    def count(self, answer: str, reference: str, language: str) -> tuple[int, int]:
        code = language_of(language, reference)
        hypothesis_words, reference_words = (
            self.normalize(text, code).split() for text in (answer, reference)
        )
        return num_edits(hypothesis_words, reference_words), len(reference_words)

    def normalize(self, text: str, language: str) -> str:
        """Words to compare, separated by spaces."""
        return normalize(text, language)

    def value(self, edits: int, words: int) -> float:
        """Edits per word; for empty references 0 if the answers are empty as well, else 1."""
        return edits / words if words else float(edits > 0)


class QwenAudioWordErrorRate(WordErrorRate):
    """WER as in Qwen-Audio's published script, which keeps punctuation as part of words."""

    def normalize(self, text: str, language: str) -> str:
        return normalize_qwen_audio(text, language)


class Qwen2AudioWordErrorRate(WordErrorRate):
    """WER as in Qwen2-Audio's published script, which normalizes each language in its own way."""

    @classmethod
    def check(cls, languages: Collection[str]) -> None:
        check_qwen2_audio(languages)

    def normalize(self, text: str, language: str) -> str:
        return normalize_qwen2_audio(text, language)


class KimiAudioWordErrorRate(Qwen2AudioWordErrorRate):
    """WER as in Kimi-Audio-Evalkit."""

    def normalize(self, text: str, language: str) -> str:
        return normalize_kimi_audio(text, language)


class UltraEvalWordErrorRate(WordErrorRate):
    """WER as in UltraEval-Audio, which applies Whisper's English normalizer to every language."""

    @classmethod
    def check(cls, languages: Collection[str]) -> None:
        for language in languages:
            normalize_ultraeval("", language_of(language, ""))

    def normalize(self, text: str, language: str) -> str:
        return normalize_ultraeval(text, language)


class RawWordErrorRate(WordErrorRate):
    """WER of texts as they are, split at blanks, as NeMo computes it."""

    def normalize(self, text: str, language: str) -> str:
        return text


class SpokenWordErrorRate(WordErrorRate):
    """WER in which numbers of equal meaning are equal in English and Chinese, and contractions in English.

    Other languages as in ``wer``.
    """

    def normalize(self, text: str, language: str) -> str:
        if language == "en":
            return normalize_spoken_english(plain_transcript(text))
        if language in SPOKEN_CHINESE:
            return normalize(spoken_chinese(plain_transcript(text)), language)
        return normalize(text, language)


class CleanChineseErrorRate(SpokenWordErrorRate):
    """``wer_spoken`` in which traditional and simplified characters, and all readings of a Chinese number, are equal."""

    @classmethod
    def check(cls, languages: Collection[str]) -> None:
        check_clean_chinese(languages)

    def normalize(self, text: str, language: str) -> str:
        if language in CHINESE:
            return normalize_clean_chinese(text, language)
        return super().normalize(text, language)


class CharacterErrorRate(WordErrorRate):
    """CER without case, punctuation and spaces."""

    def normalize(self, text: str, language: str) -> str:
        return split_characters(normalize(text, language))


class SpeakerErrorRate(WordErrorRate):
    """cpWER: all words of a speaker are one text; speakers are matched by the permutation with the fewest edits.

    The best permutation is found as a linear assignment. The value equals meeteval's ``cp_word_error_rate``, without
    its limit of 20 speakers, which the output of an untrained model can exceed.

    Source: CHiME-6, arXiv:2004.09249, section 4.4.
    """

    def count(self, answer: str, reference: str, language: str) -> tuple[int, int]:
        code = language_of(language, reference)
        hypothesis, turns = (
            [self.normalize(turn, code).split() for turn in text.split(SPEAKER_CHANGE)]
            for text in (answer, reference)
        )
        return self.edits(turns, hypothesis), sum(map(len, turns))

    def edits(self, reference: Sequence[list[str]], hypothesis: Sequence[list[str]]) -> int:
        """Minimum number of edits between the turns of reference and answer."""
        cost = _edit_matrix(reference, hypothesis)
        return int(cost[linear_sum_assignment(cost)].sum())


class TurnErrorRate(SpeakerErrorRate):
    """ORC-WER: each reference turn is assigned to the stream of the answer with the fewest edits, in order.

    Speaker labels do not count: an answer with all turns in order in one stream has no errors. The exact search is
    exponential in the number of streams. It is used up to ``EXACT_OPERATIONS``; for larger problems meeteval's
    greedy search gives an upper bound.

    Source: Sklyar et al., arXiv:2112.10200, section 3; von Neumann et al., arXiv:2307.11394 (meeteval).
    """

    @classmethod
    def check(cls, languages: Collection[str]) -> None:
        _meeteval()

    def edits(self, reference: Sequence[list[str]], hypothesis: Sequence[list[str]]) -> int:
        """Minimum number of edits if every turn is assigned to one stream.

        Raises:
            UserError: meeteval is not installed.
        """
        exact, greedy = _meeteval()
        turns, streams = ([turn for turn in side if turn] for side in (reference, hypothesis))
        if not turns or not streams:
            return sum(map(len, (*turns, *streams)))
        states = math.prod(len(stream) + 1 for stream in streams)
        if states * sum(map(len, turns)) * len(streams) <= EXACT_OPERATIONS:
            return int(exact([turns], streams)[0])
        return _greedy_upper_bound(turns, streams, greedy)


class GreedySearch(Protocol):
    """``greedy_combination_matching`` of meeteval."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Search from an initial assignment."""


def _greedy_upper_bound(
    turns: Sequence[list[str]], streams: Sequence[list[str]], greedy: GreedySearch
) -> int:
    """Result of the greedy search that starts from the cpWER assignment, or the cpWER edits if they are fewer."""
    cost = _edit_matrix(turns, streams)
    rows, assigned = linear_sum_assignment(cost)
    nearest = cost[:, : len(streams)].argmin(axis=1)
    start = [int(assigned[i] if assigned[i] < len(streams) else nearest[i]) for i in range(len(turns))]
    id_of_word = {word: n for n, word in enumerate({word for row in (*turns, *streams) for word in row})}
    ids = [[[id_of_word[word] for word in row] for row in side] for side in (turns, streams)]
    return min(int(greedy(*ids, start)[0]), int(cost[rows, assigned].sum()))


def _edit_matrix(reference: Sequence[list[str]], hypothesis: Sequence[list[str]]) -> np.ndarray:
    """Square matrix of edits between all pairs of turns; the shorter side is padded with empty turns."""
    size = max(len(reference), len(hypothesis))
    rows, columns = ([*side, *[[]] * (size - len(side))] for side in (reference, hypothesis))
    return np.array([[num_edits(a, b) for b in columns] for a in rows])


def _meeteval() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Exact and greedy search of meeteval."""
    try:
        from meeteval.wer.matching.greedy_combination_matching import greedy_combination_matching
        from meeteval.wer.matching.mimo_matching import mimo_matching
    except ImportError as error:
        raise missing_extra("meeteval", extra="eval", purpose="ORC-WER") from error
    return mimo_matching, greedy_combination_matching


def num_edits(hypothesis: Sequence[str], reference: Sequence[str]) -> int:
    """Number of insertions, deletions and substitutions between two sequences.

    >>> num_edits("kitten", "sitting")
    3
    """
    return int(Levenshtein.distance(hypothesis, reference))
