"""Text normalization of published evaluation scripts of speech recognition; scores with it equal theirs.

The normalization of the clean error rate is in ``text``. A script scores one data set with one language; here the
language is that of each clip. Languages that a script does not name are normalized as by its last branch.

Source: Qwen-Audio, eval_audio/evaluate_asr.py at b50fb95; Qwen2-Audio, the same file at 595360e; Kimi-Audio-Evalkit,
almeval/metrics/wer.py at 4080c49; UltraEval-Audio, audio_evals/lib/wer.py and agg/base.py at 9b69da6.
"""

import re
import unicodedata
from collections.abc import Callable, Collection
from functools import cache

from audio_lm.common.errors import missing_extra
from audio_lm.metrics.spoken_chinese import spoken_chinese
from audio_lm.metrics.text import language_of

QWEN2_AUDIO_PER_CHARACTER = frozenset({"zh", "yue"})
TAG = re.compile(r"<\|.*?\|>")  # wider than in ``common.markup``
CHINESE_BRACKETS = re.compile(r"（[a-z A-Z]+?）")
SPACE_BEFORE_MARK = re.compile(" ([!,.?;:])")


def normalize_qwen_audio(text: str, language: str) -> str:
    """Words as in Qwen-Audio's script: lower case, with punctuation; Chinese per character.

    >>> normalize_qwen_audio("<|en|>Well , YES.", "en"), normalize_qwen_audio("你 好。", "zh")
    ('well, yes.', '你 好 。')
    """
    words = _without_tags(text, language).lower()
    return _characters(words) if language == "zh" else words


def normalize_qwen2_audio(text: str, language: str) -> str:
    """Words as in Qwen2-Audio's script, without punctuation; Chinese and Cantonese per character.

    English is normalized by Whisper's English normalizer and then, as all languages but Chinese, by its basic one.
    Chinese numbers are written as they are spoken. Cantonese is converted to simplified characters.

    Raises:
        UserError: a package that the language needs is not installed.

    >>> normalize_qwen2_audio("C'est l'été (rires) à 20 %!", "fr"), normalize_qwen2_audio("共20个。", "zh")
    ('c est l été à 20', '共 二 十 个')
    """
    plain = _without_tags(text, language)
    words = spoken_chinese(plain) if language == "zh" else _whisper_basic()(_before_basic(plain, language))
    words = _without_lone_punctuation(words).lower()
    return _characters(words) if language in QWEN2_AUDIO_PER_CHARACTER else " ".join(words.split())


def normalize_kimi_audio(text: str, language: str) -> str:
    """Words as in Kimi-Audio-Evalkit: those of Qwen2-Audio's script, split by sacrebleu's tokenizer for Chinese.

    Raises:
        UserError: a package that the language needs is not installed.

    >>> normalize_kimi_audio("共20个 OK。", "zh"), normalize_kimi_audio("l'été, 20%", "fr")
    ('共 二 十 个 ok', 'l été 20')
    """
    plain = _without_tags(text, language)
    words = spoken_chinese(plain) if language == "zh" else _whisper_basic()(_before_basic(plain, language))
    return _without_lone_punctuation(_sacrebleu_tokens("zh", words)).lower()


def normalize_ultraeval(text: str, language: str) -> str:
    """Words as in UltraEval-Audio: Whisper's English normalizer in every language, then sacrebleu's tokenizer.

    Raises:
        UserError: a package is not installed.
    """
    words = _whisper_english()(CHINESE_BRACKETS.sub("", text.lower()))
    if language in QWEN2_AUDIO_PER_CHARACTER:
        words = spoken_chinese(_to_simplified()(words, "zh-cn") if language == "yue" else words)
        return _sacrebleu_tokens("zh", words).lower()
    return _sacrebleu_tokens("13a", words).lower()


def normalize_spoken_english(text: str) -> str:
    """Words of English, in which numbers, sums of money and contractions of equal meaning are equal.

    Whisper's normalizer without its table of British spellings, which is not part of any package that is always here.

    >>> normalize_spoken_english("It's twenty-one dollars"), normalize_spoken_english("it is 21 dollars")
    ('it is $21', 'it is $21')
    """
    return " ".join(_whisper_numbers()(text).split())


def check_qwen2_audio(languages: Collection[str]) -> None:
    """Check that texts in these languages can be normalized as by Qwen2-Audio's script.

    Raises:
        UserError: a package is not installed.
    """
    for language in languages:
        normalize_qwen2_audio("", language_of(language, ""))


def _without_tags(text: str, language: str) -> str:
    plain = SPACE_BEFORE_MARK.sub(r"\1", " ".join(TAG.sub(" ", text).split()))
    return plain.replace(" ", "") if language == "zh" else plain


def _before_basic(text: str, language: str) -> str:
    """Apply what the language needs before Whisper's basic normalizer."""
    if language == "en":
        try:
            return _whisper_english()(text)
        except (AssertionError, ValueError):  # over 4300 digits in one number, where the script stops
            return text
    return _to_simplified()(text, "zh-cn") if language == "yue" else text


@cache
def _whisper_basic() -> Callable[[str], str]:
    from transformers.models.whisper.english_normalizer import BasicTextNormalizer

    return BasicTextNormalizer()


@cache
def _whisper_english() -> Callable[[str], str]:
    """Whisper's normalizer; the rules of ``whisper_normalizer`` are newer than those of the script, its spellings not."""
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    try:
        from whisper_normalizer.english import EnglishSpellingNormalizer
    except ImportError as error:
        raise missing_extra(
            "whisper-normalizer", extra="eval", purpose="wer_qwen2_audio of English"
        ) from error
    return EnglishTextNormalizer(EnglishSpellingNormalizer().mapping)


@cache
def _whisper_numbers() -> Callable[[str], str]:
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    return EnglishTextNormalizer({})


def _sacrebleu_tokens(tokenizer: str, text: str) -> str:
    return _sacrebleu(tokenizer)(text)


@cache
def _sacrebleu(tokenizer: str) -> Callable[[str], str]:
    from sacrebleu.metrics import BLEU

    return BLEU(tokenize=tokenizer).tokenizer


@cache
def _to_simplified() -> Callable[[str, str], str]:
    try:
        from zhconv import convert
    except ImportError as error:
        raise missing_extra("zhconv", extra="eval", purpose="wer_qwen2_audio of Cantonese") from error
    return convert


def _without_lone_punctuation(text: str) -> str:
    return " ".join(word for word in text.split(" ") if not all(map(_is_punctuation, word)))


def _is_punctuation(character: str) -> bool:
    return unicodedata.category(character)[0] == "P"


def _characters(text: str) -> str:
    return " ".join("".join(text.split()))
