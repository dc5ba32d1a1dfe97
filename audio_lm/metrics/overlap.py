"""Free text against references: translations and captions.

BLEU is sacrebleu's. CIDEr-D and ROUGE-L are short enough to be written out. A
question may have several references: a list of them, or one text with one a
line.

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
from audio_lm.metrics.text import language_of, without_markup

TOKENIZER_OF_LANGUAGE = {"zh": "zh", "yue": "zh", "wuu": "zh", "ja": "ja-mecab"} | dict.fromkeys(
    ("th", "lo", "km", "my"), "char"
)
MAX_ORDER = 4
SIGMA = 6.0
ROUGE_BETA = 1.2

OF_TOKENS = BLEU(tokenize="none", force=True)

References = str | Sequence[str]
"""Of one question: one text or several."""


class Bleu(SumMetric):
    """Corpus BLEU, every text cut by the official tokenizer of its language, or by characters where it writes no blanks.

    Source: Qwen-Audio, eval_audio/evaluate_st.py at 0b0e882: zh, ja-mecab, and 13a for all others.
    """

    num_sums = 2 + 2 * MAX_ORDER  # lengths of answers and references; n-grams that are right, and all of them

    @classmethod
    def check(cls, languages: Collection[str]) -> None:
        for language in languages:
            _tokenizer(language)

    def count(self, answer: str, reference: References, language: str) -> tuple[int, ...]:
        """Lengths and n-grams of one clip.

        Raises:
            UserError: Japanese, and its tokenizer is not installed.
        """
        texts = [reference] if isinstance(reference, str) else reference
        cut = _tokenizer(language_of(language, texts[0]))
        said, *meant = (cut(without_markup(text)) for text in (answer, *texts))
        of_clip = OF_TOKENS.corpus_score([said], [[one] for one in meant])
        return of_clip.sys_len, of_clip.ref_len, *of_clip.counts, *of_clip.totals

    def value(self, said: int, meant: int, *grams: int) -> float:
        right, whole = list(grams[:MAX_ORDER]), list(grams[MAX_ORDER:])
        return BLEU.compute_bleu(right, whole, said, meant, smooth_method="exp").score


@cache
def _tokenizer(language: str) -> Callable[[str], str]:
    name = TOKENIZER_OF_LANGUAGE.get(language, "13a")
    try:
        return BLEU(tokenize=name).tokenizer
    except (ImportError, RuntimeError) as error:  # sacrebleu words the missing package as a RuntimeError
        raise missing_extra(
            f"sacrebleu[{language}]", extra="eval", purpose=f"BLEU in {language!r}"
        ) from error


class CaptionOverlap(ListMetric):
    """Mean F1 of words shared with the nearest reference caption."""

    def clip(self, answer: str, reference: References, language: str) -> float:
        said = Counter(_words(answer))
        return max(_f1(said, Counter(_words(caption))) for caption in _captions(reference))

    def value(self, clips: Sequence[float]) -> float:
        return _mean(clips)


def _f1(said: Counter, meant: Counter) -> float:
    named = said.total() + meant.total()
    return 2 * (said & meant).total() / named if named else 1.0


class RougeL(ListMetric):
    """Mean F of the longest common subsequence with the best reference, beta 1.2."""

    def clip(self, answer: str, reference: References, language: str) -> float:
        said = _words(answer)
        captions = [_words(caption) for caption in _captions(reference)]
        shared = [_common(said, caption) for caption in captions]
        precision = max(count / max(1, len(said)) for count in shared)
        recall = max(count / max(1, len(caption)) for count, caption in zip(shared, captions, strict=True))
        weighted = recall + ROUGE_BETA**2 * precision
        return (1 + ROUGE_BETA**2) * precision * recall / weighted if weighted else 0.0

    def value(self, clips: Sequence[float]) -> float:
        return _mean(clips)


def _common(ours: Sequence[str], theirs: Sequence[str]) -> int:
    row = [0] * (len(theirs) + 1)
    for a in ours:
        diagonal = 0
        for j, b in enumerate(theirs, start=1):
            diagonal, row[j] = row[j], diagonal + 1 if a == b else max(row[j], row[j - 1])
    return row[-1]


class CiderD(ListMetric):
    """CIDEr-D times 10, document frequencies over the references of this benchmark."""

    def clip(self, answer: str, reference: References, language: str) -> list[list[str]]:
        return [_words(answer), *map(_words, _captions(reference))]

    def value(self, clips: Sequence[Sequence[Sequence[str]]]) -> float:
        counted = [[*map(_grams, texts)] for texts in clips]
        frequency = Counter(gram for _, *meant in counted for gram in set().union(*meant))
        log_size = math.log(max(1, len(clips)))
        return 10 * _mean(
            [
                sum(_similarity(said, one, frequency, log_size) for one in meant) / len(meant)
                for said, *meant in counted
            ]
        )


def _similarity(said: Counter, meant: Counter, frequency: Counter, log_size: float) -> float:
    def weights(grams: Counter, order: int) -> dict[tuple[str, ...], float]:
        return {
            gram: count * (log_size - math.log(max(1.0, frequency[gram])))
            for gram, count in grams.items()
            if len(gram) == order
        }

    # As pycocoevalcap has it, the length is that of the bigrams.
    lengths = [sum(count for gram, count in grams.items() if len(gram) == 2) for grams in (said, meant)]
    penalty = math.exp(-((lengths[0] - lengths[1]) ** 2) / (2 * SIGMA**2))
    total = 0.0
    for order in range(1, MAX_ORDER + 1):
        ours, theirs = weights(said, order), weights(meant, order)
        shared = sum(
            min(value, theirs.get(gram, 0.0)) * theirs.get(gram, 0.0) for gram, value in ours.items()
        )
        norms = math.sqrt(sum(v * v for v in ours.values())) * math.sqrt(sum(v * v for v in theirs.values()))
        total += penalty * (shared / norms if norms else shared)
    return total / MAX_ORDER


def _grams(words: Sequence[str]) -> Counter:
    return Counter(
        tuple(words[i : i + n]) for n in range(1, MAX_ORDER + 1) for i in range(len(words) - n + 1)
    )


def _captions(reference: str | Sequence[str]) -> Sequence[str]:
    return reference.split("\n") if isinstance(reference, str) else reference


def _words(text: str) -> list[str]:
    return caption_words(without_markup(text))


def _mean(scores: Sequence[float]) -> float:
    return ratio(math.fsum(scores), len(scores))  # rounded once, so that their order does not matter
