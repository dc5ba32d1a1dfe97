"""Metrics of free text: translations and captions.

BLEU is computed by sacrebleu; CIDEr-D and ROUGE-L are implemented here. A question may have several references, as a
list or as the lines of one text.

Source: CIDEr, arXiv:1411.5726, section 8 (CIDEr-D, times 10); ROUGE, Lin 2004;
both as pycocoevalcap computes them.
"""

import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import cache

from sacrebleu.metrics import BLEU

from audio_lm.common.errors import missing_extra
from audio_lm.metrics.clip_metric import ListMetric, SumMetric, ratio
from audio_lm.metrics.ptb import caption_words
from audio_lm.metrics.text import language_of, strip_markup

TOKENIZER_OF_LANGUAGE = {"zh": "zh", "yue": "zh", "wuu": "zh", "ja": "ja-mecab"} | dict.fromkeys(
    ("th", "lo", "km", "my"), "char"
)
MAX_ORDER = 4
SIGMA = 6.0
ROUGE_BETA = 1.2

TOKENIZED_BLEU = BLEU(tokenize="none", force=True)

References = str | Sequence[str]
"""One or several references of one question."""


class Bleu(SumMetric):
    """Corpus BLEU with sacrebleu's tokenizer of the language; characters for languages of South-East Asian scripts.

    Source: Qwen-Audio, eval_audio/evaluate_st.py at 0b0e882: zh, ja-mecab, and 13a for all others.
    """

    num_sums = 2 + 2 * MAX_ORDER  # lengths of answers and references; matched and total n-grams of each order

    @classmethod
    def check(cls, languages: Collection[str]) -> None:
        for language in languages:
            _tokenizer(language)

    def count(self, answer: str, reference: References, language: str) -> tuple[int, ...]:
        """Lengths and n-gram counts of one clip.

        Raises:
            UserError: the tokenizer of the language, such as Japanese, is not installed.
        """
        texts = [reference] if isinstance(reference, str) else reference
        tokenize = _tokenizer(language_of(language, texts[0]))
        hypothesis, *references = (tokenize(self.plain(text)) for text in (answer, *texts))
        score = TOKENIZED_BLEU.corpus_score([hypothesis], [[text] for text in references])
        return score.sys_len, score.ref_len, *score.counts, *score.totals

    def plain(self, text: str) -> str:
        """Text to tokenize."""
        return strip_markup(text)

    def value(self, answer_length: int, reference_length: int, *grams: int) -> float:
        matched, total = list(grams[:MAX_ORDER]), list(grams[MAX_ORDER:])
        return BLEU.compute_bleu(matched, total, answer_length, reference_length, smooth_method="exp").score


class QwenAudioBleu(Bleu):
    """BLEU as in Qwen-Audio's published script, which keeps tags."""

    def plain(self, text: str) -> str:
        return text.rstrip()


@cache
def _tokenizer(language: str) -> Callable[[str], str]:
    name = TOKENIZER_OF_LANGUAGE.get(language, "13a")
    try:
        return BLEU(tokenize=name).tokenizer
    except (ImportError, RuntimeError) as error:  # sacrebleu reports a missing package as a RuntimeError
        raise missing_extra(
            f"sacrebleu[{language}]", extra="eval", purpose=f"BLEU in {language!r}"
        ) from error


class CaptionOverlap(ListMetric):
    """Mean F1 of the words of answer and most similar reference caption."""

    def clip(self, answer: str, reference: References, language: str) -> float:
        words = Counter(_words(answer))
        return max(_f1(words, Counter(_words(caption))) for caption in _captions(reference))

    def value(self, clips: Sequence[float]) -> float:
        return _mean(clips)

    def each(self, clips: Sequence[float]) -> list[float]:
        return list(clips)


def _f1(answer: Counter, reference: Counter) -> float:
    total = answer.total() + reference.total()
    return 2 * (answer & reference).total() / total if total else 1.0


class RougeL(ListMetric):
    """Mean F score (beta 1.2) of the longest common subsequence; best precision and recall over the references."""

    def clip(self, answer: str, reference: References, language: str) -> float:
        words = _words(answer)
        captions = [_words(caption) for caption in _captions(reference)]
        common = [_lcs_length(words, caption) for caption in captions]
        precision = max(length / max(1, len(words)) for length in common)
        recall = max(length / max(1, len(caption)) for length, caption in zip(common, captions, strict=True))
        weighted = recall + ROUGE_BETA**2 * precision
        return (1 + ROUGE_BETA**2) * precision * recall / weighted if weighted else 0.0

    def value(self, clips: Sequence[float]) -> float:
        return _mean(clips)

    def each(self, clips: Sequence[float]) -> list[float]:
        return list(clips)


def _lcs_length(answer: Sequence[str], reference: Sequence[str]) -> int:
    row = [0] * (len(reference) + 1)
    for a in answer:
        diagonal = 0
        for j, b in enumerate(reference, start=1):
            diagonal, row[j] = row[j], diagonal + 1 if a == b else max(row[j], row[j - 1])
    return row[-1]


class CiderD(ListMetric):
    """CIDEr-D times 10, with document frequencies from the references of this benchmark."""

    def clip(self, answer: str, reference: References, language: str) -> list[list[str]]:
        return [_words(answer), *map(_words, _captions(reference))]

    def value(self, clips: Sequence[Sequence[Sequence[str]]]) -> float:
        return _mean(self.each(clips))

    def each(self, clips: Sequence[Sequence[Sequence[str]]]) -> list[float]:
        """Value of each clip, with the document frequencies of the whole benchmark."""
        return [10 * similarity for similarity in self._similarities(clips)]

    def _similarities(self, clips: Sequence[Sequence[Sequence[str]]]) -> list[float]:
        counts = [[*map(_count_ngrams, texts)] for texts in clips]
        frequency = Counter(gram for _, *references in counts for gram in set().union(*references))
        log_size = math.log(max(1, len(clips)))
        return [
            sum(_similarity(answer, reference, frequency, log_size) for reference in references)
            / len(references)
            for answer, *references in counts
        ]


def _similarity(answer: Counter, reference: Counter, frequency: Counter, log_size: float) -> float:
    sides = [_weights(grams, frequency, log_size) for grams in (answer, reference)]
    # As in pycocoevalcap, the length of a text is its number of bigrams.
    lengths = [
        sum(grams[gram] for gram in orders[1])
        for grams, orders in zip((answer, reference), sides, strict=True)
    ]
    penalty = math.exp(-((lengths[0] - lengths[1]) ** 2) / (2 * SIGMA**2))
    total = 0.0
    for ours, theirs in zip(*sides, strict=True):
        product = sum(
            min(value, theirs[gram]) * theirs[gram] for gram, value in ours.items() if gram in theirs
        )
        norms = math.sqrt(sum(v * v for v in ours.values())) * math.sqrt(sum(v * v for v in theirs.values()))
        total += penalty * (product / norms if norms else product)
    return total / MAX_ORDER


def _weights(grams: Counter, frequency: Counter, log_size: float) -> list[dict[tuple[str, ...], float]]:
    """Weight of each n-gram of a text, by order; a single pass, because this is most of the time of CIDEr-D."""
    weights: list[dict[tuple[str, ...], float]] = [{} for _ in range(MAX_ORDER)]
    for gram, count in grams.items():
        weights[len(gram) - 1][gram] = count * (log_size - math.log(max(1.0, frequency.get(gram, 1))))
    return weights


def _count_ngrams(words: Sequence[str]) -> Counter:
    return Counter(
        tuple(words[i : i + n]) for n in range(1, MAX_ORDER + 1) for i in range(len(words) - n + 1)
    )


def _captions(reference: str | Sequence[str]) -> Sequence[str]:
    return reference.split("\n") if isinstance(reference, str) else reference


def _words(text: str) -> list[str]:
    return caption_words(strip_markup(text))


def _mean(scores: Sequence[float]) -> float:
    return ratio(math.fsum(scores), len(scores))  # fsum rounds once, so the order does not matter
