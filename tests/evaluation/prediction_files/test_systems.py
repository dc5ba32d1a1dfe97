from pathlib import Path

import pytest

from audio_lm.common.errors import DataError
from audio_lm.evaluation.prediction_files.format import ReadOptions
from audio_lm.evaluation.prediction_files.records import Record
from audio_lm.evaluation.prediction_files.systems import language_of_source, read_nemo, read_qwen, read_table


def options(**more):
    return ReadOptions(Path("f"), **more)


@pytest.mark.parametrize(
    ("source", "language"),
    [
        ("librispeech_test_other", "en"),
        ("aishell1_test", "zh"),
        ("cv15_yue", "yue"),
        ("fleurs_zh", "zh"),
        ("covost2_en_zh_test", "zh"),
        ("covost2_es_en_test", "en"),
        ("meld", "unknown"),
    ],
)
def test_the_language_follows_from_the_data_set(source, language):
    assert language_of_source(source, "unknown") == language


@pytest.mark.parametrize(
    ("source", "truth", "official"),
    [
        ("librispeech_test_clean", "a", ["wer_qwen_audio", "wer_qwen2_audio"]),
        ("covost2_en_de_test", "a", ["bleu_qwen_audio"]),
        ("meld", "joy", ["acc"]),
        ("vocalsound", "Cough", ["acc"]),
        ("clothoaqa_test", "yes", ["acc", "acc_binary"]),
        ("clotho", ["a", "b"], ["cider_d", "spice", "spider"]),
        ("any", "<|0.00|>she<|0.50|>", ["aas", "wer_qwen_audio"]),
    ],
)
def test_scores_of_a_qwen_file_follow_from_source_and_reference(source, truth, official):
    record = Record("f:1", {"gt": truth, "response": "x", "source": source})
    (benchmark,) = read_qwen([record], options())
    assert [one.metric for one in benchmark.official] == official


def test_a_source_without_a_known_task_needs_metrics():
    record = Record("f:1", {"gt": "a", "response": "x", "source": "mine"})
    with pytest.raises(DataError, match="f:1: the source 'mine' does not tell the task"):
        read_qwen([record], options())
    (benchmark,) = read_qwen([record], options(metrics=("wer",)))
    assert benchmark.clean == ("wer",)


def manifest(text, answer, count=60):
    rows = [{"audio_filepath": f"{n}.wav", "text": text, "pred_text": answer} for n in range(count)]
    return [Record(f"f:{n}", row) for n, row in enumerate(rows, start=1)]


def test_manifests_of_normalized_texts_are_refused():
    normalized = "he is going to pay 20 of them on the first day"
    with pytest.raises(DataError, match="all texts are the output of a normalizer"):
        read_nemo(
            manifest("i will pay 20 of the men on that day", "i will pay 20 of the men on this day"),
            options(),
        )
    # Number words, contractions or capitals are evidence of raw texts; so is little text evidence of nothing.
    assert read_nemo(manifest("he's paid twenty of the 20 men on that day again", normalized), options())
    assert read_nemo(manifest(normalized, normalized, count=3), options())


def test_rows_without_choices_among_others_are_refused():
    rows = [
        {"question": str(n), "answer": "a", "prediction": "a", "choices": c}
        for n, c in enumerate(["a | b", ""])
    ]
    with pytest.raises(DataError, match="f:2: no choices, which other rows have"):
        read_table([Record(f"f:{n}", row) for n, row in enumerate(rows, start=1)], options())
