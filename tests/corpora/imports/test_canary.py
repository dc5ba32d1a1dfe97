import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.imports.canary import label_of_column
from audio_lm.corpora.imports.common import ImportOptions, Row
from audio_lm.data.manifest.labels import labels_of

ASR = {"audio_filepath": "wavs/a.wav", "text": "one", "source_lang": "en", "target_lang": "en"}
AST = {"audio_filepath": "wavs/c.wav", "text": "eins", "source_lang": "en", "target_lang": "de"}


def read(row, **options):
    """Labels of a row, without reading any audio."""
    row = Row(row)
    return {
        label: row[column]
        for column, label in label_of_column(row, ImportOptions(**options)).items()
        if column in row
    }


def test_the_task_of_a_row_makes_it_a_transcript_or_a_translation(write_rows, import_cuts, render_example):
    rows = [ASR | {"taskname": "asr", "pnc": "yes"}, AST | {"taskname": "s2t_translation", "pnc": "no"}]
    transcript, translation = import_cuts("nemo", write_rows(rows))
    assert render_example(transcript, "asr")[0].endswith("assistant\none<|im_end|>")
    assert labels_of(transcript)["language"] == "en"
    labels = labels_of(translation)
    assert "text" not in labels
    assert (labels["language"], labels["target_language"], labels["translation"]) == ("en", "de", "eins")
    assert render_example(translation, "s2tt")[0].endswith("assistant\neins<|im_end|>")
    assert "mine: columns not read: pnc (2 rows)" in import_cuts.lines


@pytest.mark.parametrize(
    "task", ["ast", "s2t_translation", "translate", "translation", "<|translate|>", "AST", None]
)
@pytest.mark.parametrize("key", ["taskname", "task"])
def test_translations_are_recognised_by_any_task_name_or_by_languages(key, task):
    assert read(AST | {key: task}) == {"translation": "eins", "language": "en", "target_language": "de"}


@pytest.mark.parametrize("task", ["asr", "transcribe", "<|transcribe|>", "ASR", None])
def test_transcripts_are_recognised_by_any_task_name_or_by_languages(task):
    assert read(ASR | {"task": task}) == {"text": "one", "language": "en"}
    assert read(ASR | {"task": task, "target_lang": "English"}) == {"text": "one", "language": "en"}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"text": "", "answer": "eins"}, {"translation": "eins"}),
        ({"text": "one", "answer": "eins"}, {"translation": "eins"}),
        ({"text": "eins", "answer": "na"}, {"translation": "eins"}),
        ({"text": "one", "translation": "eins"}, {"translation": "eins", "text": "one"}),
        ({"lang": "de"}, {"translation": "eins"}),
    ],
)
def test_the_target_may_be_in_other_columns(changed, expected):
    assert read(AST | changed) == {"language": "en", "target_language": "de", **expected}


def test_the_answer_is_the_transcript_if_there_is_no_other():
    assert read({**ASR, "text": "", "answer": "one"}) == {"text": "one", "language": "en"}
    assert read({"text": "", "answer": "one", "taskname": "asr", "lang": "en"}) == {
        "text": "one",
        "language": "en",
    }


def test_rows_without_a_language_get_that_of_the_import():
    row = {key: value for key, value in AST.items() if key != "source_lang"}
    assert read(row, language="en") == {"translation": "eins", "target_language": "de"}
    assert read(row | {"taskname": "ast"}, language="en") == {"translation": "eins", "target_language": "de"}
    assert read(row | {"taskname": "asr"}, language="en") == {"text": "eins", "language": "de"}


def test_other_manifests_are_unaffected_and_columns_of_the_options_win():
    plain = {"text": "one", "lang": "en", "speaker": "x"}
    assert read(plain) == {"text": "one", "language": "en", "speaker": "x"}
    assert read(plain | {"task": "kws"}, columns={"task": ""}) == {
        "text": "one",
        "language": "en",
        "speaker": "x",
    }
    labels = read(AST | {"caption_de": "zwei"}, columns={"caption_de": "translation"})
    assert labels == {"translation": "zwei", "language": "en", "target_language": "de"}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (ASR | {"taskname": "slu"}, "the task is 'slu' -- expected one of"),
        (AST | {"taskname": "asr"}, "the task is 'asr', but source_lang is 'en' and target_lang 'de'"),
        (ASR | {"taskname": "ast"}, "expected two languages"),
        ({"text": "eins", "taskname": "ast", "lang": "de"}, "expected two languages"),
        ({"text": "eins", "target_lang": "de"}, "source_lang is missing"),
        (AST | {"target_lang": "xx"}, "'xx' is unknown"),
        (ASR | {"lang": "fr"}, "lang is 'fr', source_lang 'en'"),
        (ASR | {"text": "<|3|> one <|7|>", "timestamp": "yes"}, r"contains tokens such as '<\|3\|>'"),
    ],
)
def test_rows_of_no_known_task_are_refused(row, reason):
    with pytest.raises(DataError, match=reason):
        read(row)


def test_the_error_for_a_bad_row_names_its_line(write_rows, import_cuts):
    with pytest.raises(DataError, match=r"rows\.jsonl:2: the task is 'slu'"):
        import_cuts("nemo", write_rows([ASR, AST | {"taskname": "slu"}]))
