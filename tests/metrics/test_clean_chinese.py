import sys

import pytest

from audio_lm.common.errors import UserError
from audio_lm.evaluation.predict import Prediction
from audio_lm.evaluation.score import score_benchmark
from audio_lm.metrics import clean_chinese
from audio_lm.metrics.clean_chinese import check_clean_chinese, normalize_clean_chinese
from audio_lm.metrics.registry import find_metric

pytest.importorskip("wetext")
pytest.importorskip("opencc")


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("2021年5月8日，涨了12.5%。", "二零二一年五月八日涨了百分之十二点五"),
        ("共2200元", "共两千两百元"),
        ("共2,200元", "共二千二百元"),
        ("電話13812345678", "电话一三八一二三四五六七八"),
        ("電話13812345678", "电话幺三八幺二三四五六七八"),
        ("他買咗3/4", "他买咗四分之三"),
        ("１２个", "十二个"),
        ("二〇二一年", "二零二一年"),
        ("<|zh|>下午3:20 OK!", "下午三点二十分ok"),
        ("呢度有2個人", "呢度有两个人"),
    ],
)
def test_written_and_spoken_forms_are_equal(written, spoken):
    assert normalize_clean_chinese(written, "yue") == normalize_clean_chinese(spoken, "zh")
    assert not any(
        character.isdigit() and character.isascii() for character in normalize_clean_chinese(written, "zh")
    )


def test_different_texts_stay_different():
    assert normalize_clean_chinese("共2200元", "zh") != normalize_clean_chinese("共2300元", "zh")
    assert normalize_clean_chinese("他们", "zh") != normalize_clean_chinese("她们", "zh")
    assert normalize_clean_chinese("It's 20.", "en") == "it's 20"


def test_the_error_rate_is_zero_for_another_script_and_other_languages_are_as_in_wer_spoken():
    rates = {}
    for name in ("wer_wetext", "wer_spoken", "wer"):
        metric = find_metric(name).build()
        metric.update(["我有2個蘋果", "twenty-one dollars"], ["我有两个苹果", "$21"], ["yue", "en"])
        rates[name] = float(metric.compute())
    assert rates["wer_wetext"] == 0
    # three of the seven words: 個, 蘋, and 二 for 两
    assert rates["wer_spoken"] == pytest.approx(3 / 7)
    assert rates["wer"] > rates["wer_spoken"]


@pytest.mark.parametrize("package", ["wetext", "opencc"])
def test_a_missing_package_is_named_before_a_run_and_only_for_chinese(package, monkeypatch):
    for function in (clean_chinese._wetext, clean_chinese._to_simplified):
        function.cache_clear()
    clean_chinese._in_words.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    check = find_metric("wer_wetext").check
    check({"en", "fr"})
    with pytest.raises(
        UserError,
        match=rf"wer_wetext of Chinese needs the package '{package}.*pip install 'audio-lm\[eval\]'",
    ):
        check({"en", "yue"})
    check_clean_chinese([])
    answers = [Prediction(id="a", task="asr", references=("两个",), answer="2个", language="zh")]
    assert score_benchmark(answers, ["wer_wetext", "wer"]) == {"wer": 0.5}
