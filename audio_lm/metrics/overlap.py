"""Metrics of free text: translations and captions.

BLEU is computed by sacrebleu; CIDEr-D and ROUGE-L are implemented here. A question may have several references, as a
list or as the lines of one text.

Source: CIDEr, arXiv:1411.5726, section 8 (CIDEr-D, times 10); ROUGE, Lin 2004;
both as pycocoevalcap computes them.
"""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from typing import NamedTuple

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
        rarity = {gram: log_size - math.log(count) for gram, count in frequency.items()}
        similarities = []
        for answer, *references in counts:
            ours = _weighted(answer, rarity, log_size)
            total = sum(_similarity(ours, _weighted(grams, rarity, log_size)) for grams in references)
            similarities.append(total / len(references))
        return similarities


class _Weighted(NamedTuple):
    """A text for CIDEr-D; the lists have one entry for each order of n-grams."""

    weights: list[dict[tuple[str, ...], float]]
    norms: list[float]
    length: int  # as in pycocoevalcap, the number of bigrams


def _similarity(ours: _Weighted, theirs: _Weighted) -> float:
    penalty = math.exp(-((ours.length - theirs.length) ** 2) / (2 * SIGMA**2))
    total = 0.0
    for order, weights in enumerate(theirs.weights):
        product = sum(
            min(value, weights[gram]) * weights[gram]
            for gram, value in ours.weights[order].items()
            if gram in weights
        )
        norms = ours.norms[order] * theirs.norms[order]
        total += penalty * (product / norms if norms else product)
    return total / MAX_ORDER


def _weighted(grams: Counter, rarity: Mapping[tuple[str, ...], float], log_size: float) -> _Weighted:
    """Weight the n-grams of a text; a single pass, because this is most of the time of CIDEr-D.

    Args:
        rarity: of each n-gram of a reference; ``log_size`` of all others.
    """
    weights: list[dict[tuple[str, ...], float]] = [{} for _ in range(MAX_ORDER)]
    length = 0
    for gram, count in grams.items():
        weights[len(gram) - 1][gram] = count * rarity.get(gram, log_size)
        length += count if len(gram) == 2 else 0
    norms = [math.sqrt(sum(weight * weight for weight in of_order.values())) for of_order in weights]
    return _Weighted(weights, norms, length)


def _count_ngrams(words: Sequence[str]) -> Counter:
    shifted = [words[start:] for start in range(MAX_ORDER)]
    return Counter(
        itertools.chain.from_iterable(zip(*shifted[:n], strict=False) for n in range(1, MAX_ORDER + 1))
    )


def _captions(reference: str | Sequence[str]) -> Sequence[str]:
    return reference.split("\n") if isinstance(reference, str) else reference


def _words(text: str) -> list[str]:
    return caption_words(strip_markup(text))


def _mean(scores: Sequence[float]) -> float:
    return ratio(math.fsum(scores), len(scores))  # fsum rounds once, so the order does not matter
