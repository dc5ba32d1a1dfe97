"""Files of other systems: numbers equal those of the published code, spoilt files are refused in one sentence."""

import json
from pathlib import Path

import pytest

from audio_lm.common.errors import UserError
from audio_lm.evaluation.predict import Prediction, write_predictions
from audio_lm.evaluation.prediction_files.format import ReadOptions
from audio_lm.evaluation.prediction_files.score_file import score_file
from audio_lm.evaluation.uncertainty import scored as evaluated

FOLDER = Path(__file__).parents[2] / "golden" / "predictions"
GOLDEN = json.loads((FOLDER / "scores.json").read_text())["scores"]


def scored(name, metrics=(), language="unknown"):
    return score_file(ReadOptions(FOLDER / name, metrics, language))


def numbers(name, **options):
    """Benchmark -> name of a number -> the number."""
    return {
        one.benchmark: {number.name: number for number in one.numbers}
        for one in scored(name, **options).benchmarks
    }


@pytest.mark.parametrize(
    ("name", "part", "metric"), [("mmau.json", "mmau", "acc_mmau"), ("mmar.jsonl", "mmar", "acc_mmau")]
)
def test_accuracy_and_denominator_equal_those_of_mmau_and_mmar(name, part, metric):
    (found,) = numbers(name).values()
    assert round(100 * found[metric].value, 2) == GOLDEN[part]["percent"]
    assert found[metric].num_rows == GOLDEN[part]["rows"], "rows without a prediction shrink the denominator"
    assert found["acc_choice"].num_rows > found[metric].num_rows
    if "hits" in GOLDEN[part]:
        assert found[metric].value == GOLDEN[part]["hits"] / GOLDEN[part]["rows"]


def test_accuracies_of_airbench_equal_those_of_its_script():
    found = numbers("airbench.jsonl")
    assert found.keys() == GOLDEN["airbench"].keys()
    for task, expected in GOLDEN["airbench"].items():
        official = found[task]["acc_airbench"]
        assert (official.value, official.num_rows) == (expected["accuracy"], expected["rows"])


@pytest.mark.parametrize("part", ["qwen_speech", "qwen_others"])
def test_scores_of_qwen_equal_those_of_its_scripts(part):
    names = {"qwen_speech": ["qwen_asr.json"]}.get(
        part, [f"qwen_{n}.json" for n in ("st", "aqa", "srwt", "notes")]
    )
    found = {source: values for name in names for source, values in numbers(name).items()}
    assert found.keys() == GOLDEN[part].keys()
    for source, expected in GOLDEN[part].items():
        for metric, value in expected.items():
            key = {"bleu": "bleu_qwen_audio"}.get(metric, metric)
            digits = 4 if metric == "bleu" else 11  # the script prints four digits of BLEU
            assert round(found[source][key].value, digits) == round(value, digits), (source, metric)


def test_caption_scores_equal_those_of_pycocoevalcap_and_spice_is_missing(monkeypatch):
    monkeypatch.delenv("AUDIO_LM_SPICE", raising=False)
    (found,) = scored("qwen_caption.json").benchmarks
    values = {number.name: number.value for number in found.numbers}
    for name, value in GOLDEN["qwen_captions"].items():
        assert values[name] == pytest.approx(value, abs=1e-6), name
    assert any(note.startswith("spice is not computed: AUDIO_LM_SPICE is not set") for note in found.notes)
    assert "spice" not in values


@pytest.mark.parametrize(
    ("task", "metric", "factor"),
    [
        ("mmau", "acc_lmms_eval", 100),
        ("mmar", "acc_lmms_eval_mmar", 100),
        ("air_bench", "acc_lmms_eval_letter", 1),
    ],
)
def test_accuracies_of_lmms_eval_include_its_random_letters(task, metric, factor):
    (found,) = numbers(f"lmms_eval_{task}.jsonl").values()
    assert round(factor * found[metric].value, 5) == round(GOLDEN["lmms_eval"][task]["score"], 5)
    assert found[metric].value == found["accuracy in the samples"].value


def test_error_rates_of_toolkits_equal_theirs():
    (lmms,) = numbers("lmms_eval_asr.jsonl").values()
    assert 100 * lmms["wer_qwen2_audio"].value == pytest.approx(
        GOLDEN["lmms_eval"]["asr"]["percent"], abs=1e-12
    )
    for language in ("en", "zh"):
        (kimi,) = numbers(f"kimi_asr_{language}.jsonl").values()
        expected = GOLDEN["kimi"][f"own-{language}"]
        official = kimi["wer_kimi_audio"]
        assert (round(100 * official.value, 2), official.num_rows) == (expected["wer"], expected["total"])
        (ultraeval,) = numbers(f"ultraeval_asr_{language}.jsonl").values()
        assert 100 * ultraeval["wer_ultraeval"].value == pytest.approx(
            GOLDEN["ultraeval"][language], abs=1e-12
        )
    (nemo,) = numbers("nemo.jsonl").values()
    assert nemo["wer_nemo"].value == GOLDEN["nemo"]["wer"]


def test_failed_questions_of_ultraeval_stay_in_the_clean_denominator():
    (found,) = numbers("ultraeval_mmau.jsonl").values()
    recorded = found["match in the file"]
    expected = GOLDEN["ultraeval"]["mmau"]
    assert 100 * recorded.value == pytest.approx(expected["percent"], abs=1e-12)
    assert recorded.num_rows == expected["rows"] == 111
    assert found["acc_choice"].num_rows == 120


def test_files_without_published_code_are_counted_by_hand():
    pro = numbers("mmau_pro.jsonl")
    # B and Woman are right; "a man" is wrong, and the row without an answer.
    assert (pro["speech"]["acc_choice"].value, pro["speech"]["choice_unclear"].value) == (2 / 4, 1 / 4)
    assert pro["music"]["acc_choice"].value == 1 / 2
    assert pro.keys() == {"speech", "music"}, "open questions are not of this metric"
    own = numbers("audio_lm.jsonl")
    assert own["asr"]["wer"].value == 1 / 6
    assert own["sgc"]["acc"].value == own["aqa"]["acc_choice"].value == 1 / 2
    (table,) = numbers("table.csv").values()
    assert (table["acc_choice"].value, table["acc_choice"].num_rows) == (2 / 4, 4)
    (rates,) = numbers("table.tsv", metrics=("wer", "wer_spoken")).values()
    assert (rates["wer"].value, rates["wer_spoken"].value) == (4 / 7, 0.0)


def test_notes_say_the_denominator_and_the_difference():
    (found,) = scored("mmau.json").benchmarks
    assert found.notes[0] == (
        "120 of 120 rows are scored, 9 without model_output: left out of the official number, wrong in the clean one, "
        "4 answers are empty and count as wrong"
    )
    assert found.notes[1].startswith(
        "acc_mmau and acc_choice differ in 36 of 120 rows: the script compares words"
    )


SPOILT = {
    "mmau.json": r"no row \(2 were read\) has 'model_output' -- expected the raw answer",
    "mmar.jsonl": r"mmar.jsonl:2: id 'a' is also that of .*mmar.jsonl:1 -- expected one answer per question",
    "mmau_pro.jsonl": "no row has choices -- expected the closed questions",
    "airbench.jsonl": r"airbench.jsonl:1: 'Boy' -- expected one of \['Man', 'Woman'\] -- repair",
    "qwen.json": "qwen.json: not JSON .* the file is incomplete",
    "lmms_eval.jsonl": "lmms_eval.jsonl:1: its 'input' lists no choices",
    "kimi.jsonl": "kimi.jsonl:1: its question is neither a transcription nor one with choices",
    "ultraeval.jsonl": "no line of type 'eval'",
    "nemo.jsonl": "'pred_text_norm' -- expected the raw answers, in 'pred_text'",
    "audio_lm.jsonl": "audio_lm.jsonl:1: 'own_labels' is no task of this program",
    "table.csv": r"no row \(1 were read\) has 'prediction'",
    "table.tsv": "table.tsv:2: no choices, so the file does not tell how answers are scored",
}


@pytest.mark.parametrize("name", [path.name for path in sorted((FOLDER / "spoilt").iterdir())])
def test_a_spoilt_file_is_refused_in_one_sentence(name):
    with pytest.raises(UserError, match=SPOILT[name]) as refused:
        scored(f"spoilt/{name}")
    assert "\n" not in str(refused.value)


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_rows_whose_reference_is_no_choice_are_left_out_of_the_clean_number_only(tmp_path):
    rows = [json.loads(line) for line in (FOLDER / "airbench.jsonl").read_text().splitlines()[:4]]
    rows[2]["answer_gt"] = "somebody else"
    benchmarks = score_file(ReadOptions(write(tmp_path / "air.jsonl", *rows))).benchmarks
    (changed,) = [one for one in benchmarks if one.benchmark.startswith("Speaker")]
    assert [number.num_rows for number in changed.numbers if number.name == "acc_choice"] == [1]
    assert any("1 rows whose reference is none of their choices" in note for note in changed.notes)


def test_withheld_references_and_missing_extras_are_reported(tmp_path, monkeypatch):
    row = {
        "id": "a",
        "audio_id": "x",
        "task": "t",
        "difficulty": "easy",
        "choices": ["a", "b"],
        "model_output": "a",
    }
    with pytest.raises(UserError, match="has a reference answer -- expected them in the file"):
        score_file(ReadOptions(write(tmp_path / "x.jsonl", row)))
    from audio_lm.metrics import published_text

    published_text._whisper_english.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "whisper_normalizer", None)
    monkeypatch.setitem(__import__("sys").modules, "whisper_normalizer.english", None)
    first = scored("qwen_asr.json").benchmarks[0]
    assert {number.name for number in first.numbers} == {"wer_qwen_audio", "wer_spoken"}, (
        "the others are kept"
    )
    assert any("wer_qwen2_audio is not computed" in note and "audio-lm[eval]" in note for note in first.notes)


def test_unknown_metrics_are_refused_before_the_file_is_read(tmp_path):
    with pytest.raises(UserError, match=r"unknown metric 'werr'. Did you mean 'wer'"):
        score_file(ReadOptions(tmp_path / "absent.json", ("werr",)))


def test_intervals_equal_those_of_an_evaluation_and_are_over_speakers(tmp_path):
    path = tmp_path / "answers.jsonl"
    rows = [
        Prediction(
            id=str(number),
            task="asr",
            references=("one two three",),
            answer="one two" if number % 3 else "one two three",
            language="en",
            speaker=f"s{number // 4}",
        )
        for number in range(80)
    ]
    write_predictions(path, rows)
    wer = score_file(ReadOptions(path)).benchmarks[0].numbers[0]
    interval = evaluated(rows, "wer").interval()
    assert (wer.name, wer.units) == ("wer", "20 speakers")
    assert wer.interval == (interval.low, interval.high)
    assert wer.value == interval.value


def test_many_answers_show_their_progress_over_all_metrics(monkeypatch, shown_progress):
    monkeypatch.setattr("audio_lm.evaluation.prediction_files.score_file.MIN_ANSWERS", 8)
    scored("table.csv", metrics=("wer", "cer"))
    assert shown_progress() == [f"scoring  {number}/8 answers" for number in range(1, 9)]
