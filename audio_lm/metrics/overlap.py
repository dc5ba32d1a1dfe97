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
from itertools import zip_longest

import sacrebleu
from sacrebleu.metrics import BLEU

from audio_lm.errors import missing_extra
from audio_lm.metrics.ptb import caption_words
from audio_lm.metrics.text import language_of, without_markup

TOKENIZER_OF_LANGUAGE = {"zh": "zh", "yue": "zh", "wuu": "zh", "ja": "ja-mecab"} | dict.fromkeys(
    ("th", "lo", "km", "my"), "char"
)
MAX_ORDER = 4
SIGMA = 6.0
ROUGE_BETA = 1.2

References = Sequence[str | Sequence[str]]
"""Of each question one text or several."""


def bleu(answers: Sequence[str], references: References, languages: Sequence[str]) -> float:
    """Corpus BLEU, every text cut by the official tokenizer of its language, or by characters where it writes no blanks.

    Args:
        languages: of the references, that is the language translated into.

    Raises:
        UserError: Japanese, and its tokenizer is not installed.

    Source: Qwen-Audio, eval_audio/evaluate_st.py at 0b0e882: zh, ja-mecab, and 13a for all others.
    """
    meant = [[text] if isinstance(text, str) else text for text in references]
    codes = [language_of(language, texts[0]) for language, texts in zip(languages, meant, strict=True)]
    cut_of = {code: _tokenizer(code) for code in set(codes)}

    def cut(texts: Sequence[str | None]) -> list[str | None]:
        return [
            None if text is None else cut_of[code](without_markup(text))
            for text, code in zip(texts, codes, strict=True)
        ]

    streams = [cut(texts) for texts in zip_longest(*meant)]  # sacrebleu: none where a question has fewer
    return sacrebleu.corpus_bleu(cut(answers), streams, tokenize="none", force=True).score


def check_tokenizers(languages: Collection[str]) -> None:
    """Check that BLEU can be computed in these languages.

    Raises:
        UserError: the tokenizer of one is not installed.
    """
    for language in languages:
        _tokenizer(language)


def _tokenizer(language: str) -> Callable[[str], str]:
    name = TOKENIZER_OF_LANGUAGE.get(language, "13a")
    try:
        return BLEU(tokenize=name).tokenizer
    except (ImportError, RuntimeError) as error:  # sacrebleu words the missing package as a RuntimeError
        raise missing_extra(
            f"sacrebleu[{language}]", extra="eval", purpose=f"BLEU in {language!r}"
        ) from error


def caption_overlap(answers: Sequence[str], references: References, languages: Sequence[str]) -> float:
    """Mean F1 of words shared with the nearest reference caption."""
    scores = []
    for answer, reference in zip(answers, references, strict=True):
        said = Counter(_words(answer))
        scores.append(max(_f1(said, Counter(_words(caption))) for caption in _captions(reference)))
    return sum(scores) / len(scores)


def _f1(said: Counter, meant: Counter) -> float:
    named = said.total() + meant.total()
    return 2 * (said & meant).total() / named if named else 1.0


def rouge_l(answers: Sequence[str], references: References, languages: Sequence[str]) -> float:
    """Mean F of the longest common subsequence with the best reference, beta 1.2."""
    scores = []
    for answer, reference in zip(answers, references, strict=True):
        said = _words(answer)
        captions = [_words(caption) for caption in _captions(reference)]
        shared = [_common(said, caption) for caption in captions]
        precision = max(count / max(1, len(said)) for count in shared)
        recall = max(count / max(1, len(caption)) for count, caption in zip(shared, captions, strict=True))
        weighted = recall + ROUGE_BETA**2 * precision
        scores.append((1 + ROUGE_BETA**2) * precision * recall / weighted if weighted else 0.0)
    return sum(scores) / len(scores)


def _common(ours: Sequence[str], theirs: Sequence[str]) -> int:
    row = [0] * (len(theirs) + 1)
    for a in ours:
        diagonal = 0
        for j, b in enumerate(theirs, start=1):
            diagonal, row[j] = row[j], diagonal + 1 if a == b else max(row[j], row[j - 1])
    return row[-1]


def cider_d(answers: Sequence[str], references: References, languages: Sequence[str]) -> float:
    """CIDEr-D times 10, document frequencies over the references of this benchmark."""
    captions = [[_grams(caption) for caption in _captions(reference)] for reference in references]
    frequency: Counter = Counter()
    for of_clip in captions:
        frequency.update({gram for grams in of_clip for gram in grams})
    log_size = math.log(max(1, len(references)))
    scores = []
    for answer, of_clip in zip(answers, captions, strict=True):
        said = _grams(answer)
        scores.append(sum(_similarity(said, meant, frequency, log_size) for meant in of_clip) / len(of_clip))
    return 10 * sum(scores) / len(scores)


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


def _grams(text: str) -> Counter:
    words = _words(text)
    return Counter(
        tuple(words[i : i + n]) for n in range(1, MAX_ORDER + 1) for i in range(len(words) - n + 1)
    )


def _captions(reference: str | Sequence[str]) -> Sequence[str]:
    return reference.split("\n") if isinstance(reference, str) else reference


def _words(text: str) -> list[str]:
    return caption_words(without_markup(text))
