import pytest

from audio_lm.bench import scores
from audio_lm.bench.scores import bench_score
from audio_lm.metrics.registry import METRICS


def test_every_metric_is_measured_on_answers_that_it_can_score(monkeypatch):
    monkeypatch.delenv("AUDIO_LM_SPICE", raising=False)
    figures = list(bench_score(num_predictions=20))
    assert {figure.metric.split(" ")[0] for figure in figures} == set(METRICS)
    for figure in figures:
        is_measured = figure.seconds is not None and figure.seconds >= 0
        is_missing = METRICS[figure.metric.split(" ")[0]].needs_program and bool(figure.reason)
        assert is_measured or is_missing, figure


def test_drawn_answers_are_neither_all_right_nor_all_wrong():
    for name in ("wer", "acc_choice", "acc_mmau", "aas_matched", "map"):
        row = METRICS[name]
        value = float(row.build(sync_on_compute=False)(*scores._rows(row, 200, "en")))
        assert 0 < value < 1, name


def test_a_metric_whose_package_is_missing_has_a_reason(monkeypatch):
    from audio_lm.metrics import published_text

    published_text._whisper_english.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "whisper_normalizer.english", None)
    english, _ = bench_score(num_predictions=2, names=["wer_qwen2_audio"])
    assert english.seconds is None
    assert "audio-lm[eval]" in english.reason
    published_text._whisper_english.cache_clear()


@pytest.mark.parametrize("name", ["wer", "bleu"])
def test_languages_with_another_tokenizer_are_measured_too(name):
    assert [figure.metric for figure in bench_score(num_predictions=2, names=[name])] == [
        name,
        f"{name} (zh)",
    ]
