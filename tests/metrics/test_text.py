import pytest

from audio_lm.metrics.text import language_of, normalize, split_characters, strip_markup


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ('He wrote: "It\'s OK."', "en", "he wrote it's ok"),
        ("你好，世界！", "zh", "你 好 世 界"),
        ("안녕 하세요", "ko", "안 녕 하 세 요"),
        ("It’s 'quoted', the dogs' o'clock", "en", "it's quoted the dogs o'clock"),
        ("0.50-0.67 she, 0.67-1.01 sells", "en", "she sells"),
        ("we met [Ada: person] <sc> today", "en", "we met ada today"),
        (
            "<|startofentityvalue|>Ada<|endofentityvalue|><|startofentitytype|>person<|endofentitytype|> came",
            "en",
            "ada came",
        ),
        ("twenty-one isn't 21; l'été à 20 %", "fr", "twenty one isn't 21 l'été à 20"),
        ("ＡＢＣ臺灣２０個", "yue", "a b c 臺 灣 2 0 個"),
        ("colour", "en", "colour"),
        ("", "en", ""),
    ],
)
def test_clean_normalization_keeps_only_words(text, language, expected):
    assert normalize(text, language) == expected


def test_markup_is_removed():
    assert strip_markup("<audio></audio><|0.00|>one<|0.40|><|sil|><|0.60|>two") == "one two"
    assert split_characters("ab c") == "a b c"


@pytest.mark.parametrize(
    ("language", "reference", "code"),
    [
        ("zh-CN", "hello", "zh"),
        ("English", "你好", "en"),
        ("unknown", "今天天气很好", "zh"),
        ("unknown", "我用 Python 编程", "zh"),
        ("unknown", "今日はいい天気ですね", "ja"),
        ("unknown", "ﾃﾚﾋﾞを見る", "ja"),
        ("unknown", "오늘 날씨가 좋다", "ko"),
        ("unknown", "สวัสดีครับ", "th"),
        ("unknown", "the sign 出口 means a way out", "unknown"),
        ("unknown", "Привет, как дела?", "unknown"),
        ("a dialect", "你好", "zh"),
        ("unknown", "", "unknown"),
    ],
)
def test_an_unknown_language_is_detected_from_the_script(language, reference, code):
    assert language_of(language, reference) == code
