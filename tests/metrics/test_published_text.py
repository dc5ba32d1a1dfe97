import json
import sys
from pathlib import Path

import pytest

from audio_lm.common.errors import UserError
from audio_lm.metrics import published_text
from audio_lm.metrics.published_text import check_qwen2_audio, normalize_qwen2_audio, normalize_qwen_audio
from audio_lm.metrics.registry import find_metric
from tests.golden.published_wer import words_digest
from tests.golden.transcripts import AMOUNTS, NUM_ROWS, transcripts

GOLDEN = Path(__file__).parents[1] / "golden"
NORMALIZE = {"wer_qwen_audio": normalize_qwen_audio, "wer_qwen2_audio": normalize_qwen2_audio}


@pytest.mark.parametrize("language", AMOUNTS)
@pytest.mark.parametrize("metric", NORMALIZE)
def test_words_and_error_rates_equal_those_of_the_published_script(metric, language):
    golden = json.loads((GOLDEN / f"{metric}.json").read_text())["languages"][language]
    rows = transcripts(language)
    assert len(golden["rows"]) == len(rows) == NUM_ROWS
    for (reference, answer), (rate, digest) in zip(rows, golden["rows"], strict=True):
        words = [NORMALIZE[metric](text, language).split() for text in (reference, answer)]
        assert words_digest(*words) == digest, (reference, answer, words)
        assert float(find_metric(metric).build()([answer], [reference], [language])) == rate, (
            reference,
            answer,
        )
    references, answers = zip(*rows, strict=True)
    whole = find_metric(metric).build()
    whole.update(answers[:77], references[:77], [language] * 77)
    whole.update(answers[77:], references[77:], [language] * (NUM_ROWS - 77))
    assert float(whole.compute()) == golden["wer"]


def test_clips_of_one_benchmark_are_scored_in_their_own_language():
    rows = [(*row, language) for language in AMOUNTS for row in transcripts(language)[:20]]
    mixed = find_metric("wer_qwen2_audio").build()
    mixed.update(*zip(*((answer, reference, language) for reference, answer, language in rows), strict=True))
    edits = words = 0
    for language in AMOUNTS:
        alone = find_metric("wer_qwen2_audio").build()
        own = [row for row in rows if row[2] == language]
        alone.update([row[1] for row in own], [row[0] for row in own], [language] * len(own))
        edits, words = edits + int(alone.sums[0]), words + int(alone.sums[1])
    assert float(mixed.compute()) == edits / words


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("<|en|><|transcribe|>Well , yes !", "en", "well, yes!"),
        ("<|zh|>你 好 。", "zh", "你 好 。"),
        ("안녕 하세요", "ko", "안녕 하세요"),
        ("<audio>a</audio> <|a<b|>", "en", "<audio>a</audio>"),
    ],
)
def test_qwen_audio_keeps_punctuation(text, language, expected):
    assert normalize_qwen_audio(text, language) == expected


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("Mr. Lee's colour, um, won't change!", "en", "mister lee is color will not change"),
        ("twenty-one dollars and 5%", "en", "21 and 5"),
        ("[noise] C'est l'été (rires) !", "fr", " c est l été "),
        ("我哋喺臺灣買咗20個", "yue", "我 哋 喺 台 湾 买 咗 2 0 个"),
        ("IPhone有20个，10%。", "zh", "i p h o n e 有 二 十 个 百 分 之 十"),
        ("안녕 하세요.", "ko", "안녕 하세요"),
        ("", "en", ""),
    ],
)
def test_qwen2_audio_normalizes_each_language_in_its_own_way(text, language, expected):
    assert normalize_qwen2_audio(text, language) == " ".join(expected.split())


def test_a_number_longer_than_python_converts_is_scored_as_written():
    assert normalize_qwen2_audio("9" * 5_000 + " Cats", "en") == "9" * 5_000 + " cats"


@pytest.mark.parametrize(
    ("language", "package"),
    [("English", "whisper-normalizer"), ("yue", "zhconv"), ("en-GB", "whisper-normalizer")],
)
def test_a_missing_package_is_named_in_the_check_and_while_scoring(language, package, monkeypatch):
    check_qwen2_audio([language, "fr", "zh", "unknown"])
    module = package.replace("-", "_")
    for loaded in (published_text._whisper_english, published_text._to_simplified):
        loaded.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    score = find_metric("wer_qwen2_audio").build()
    for use in (
        lambda: find_metric("wer_qwen2_audio").check([language]),
        lambda: score(["a"], ["a"], [language]),
    ):
        with pytest.raises(UserError, match=rf"needs the package '{package}'.*'audio-lm\[eval\]'"):
            use()
    check_qwen2_audio(["fr", "zh", "unknown"])


def test_empty_references_count_their_insertions():
    metric = find_metric("wer_qwen2_audio")
    assert float(metric.build()(["a b", "c"], ["", "c"], ["fr", "fr"])) == 2.0
    assert float(metric.build()(["", "。"], ["", ""], ["fr", "zh"])) == 0.0


@pytest.mark.parametrize(
    ("name", "text", "language", "words"),
    [
        ("kimi_audio", "共20个，OK!", "zh", "共 二 十 个 ok"),
        ("kimi_audio", "C'est l'été (rires)", "fr", "c est l été"),
        ("ultraeval", "共20个，OK!", "zh", "共 二 十 个 ok"),
        ("ultraeval", "C'est colour（abc）", "fr", "c est color"),
    ],
)
def test_words_of_toolkits(name, text, language, words):
    normalize = getattr(published_text, f"normalize_{name}")
    assert normalize(text, language).split() == words.split()
