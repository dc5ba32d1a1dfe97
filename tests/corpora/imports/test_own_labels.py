import json

import pytest

from audio_lm.common.errors import DataError, UserError
from audio_lm.corpora.imports.common import ImportOptions
from audio_lm.corpora.imports.own_labels import OwnLabels, own_columns, own_value
from audio_lm.data.manifest.labels import labels_of

CSV = "audio,text,dynamic,take,T60 (s),sentence\nwavs/a.wav,one,forte,1.0,0.3,x\nwavs/b.wav,two,p,,0.4,x\n"


def test_other_columns_are_labels_of_ones_own_and_named(folder, import_cuts):
    (folder / "many.csv").write_text(CSV)
    first, second = import_cuts("table", folder / "many.csv", language="en")
    assert {key: labels_of(first)[key] for key in ("text", "dynamic", "take")} == {
        "text": "one",
        "dynamic": "forte",
        "take": "1",
    }
    assert "take" not in labels_of(second)
    assert (
        "mine: labels of your own: dynamic (forte | p), take (1, empty in 1 of 2 rows)" in import_cuts.lines
    )
    assert "mine: columns not read: T60 (s) (2 rows), sentence (2 rows)" in import_cuts.lines


def test_a_requested_column_has_the_name_of_ones_choice(folder, import_cuts):
    (folder / "many.csv").write_text(CSV)
    first, _ = import_cuts(
        "table", folder / "many.csv", columns={"T60 (s)": "reverberation", "take": "", "dynamic": "speaker"}
    )
    labels = labels_of(first)
    assert (labels["reverberation"], labels["speaker"]) == ("0.3", "forte")
    assert labels.keys().isdisjoint({"take", "dynamic"})


def test_json_and_csv_give_the_same_labels(folder, write_rows, import_cuts):
    values = {"a": [3, "3"], "b": [3.0, "3.0"], "c": [0.5, "0.5"], "d": [True, "true"], "e": ["x", "x"]}
    rows = [{"audio": "wavs/a.wav", "text": "one", **{key: value[0] for key, value in values.items()}}]
    table = f"audio,text,{','.join(values)}\nwavs/a.wav,one,{','.join(text for _, text in values.values())}\n"
    (folder / "same.csv").write_text(table)
    (from_json,) = import_cuts("table", write_rows(rows))
    (from_csv,) = import_cuts("table", folder / "same.csv", subset_split="csv-train")
    assert {key: labels_of(from_json)[key] for key in values} == {
        key: labels_of(from_csv)[key] for key in values
    }
    assert labels_of(from_json)["b"] == "3"


def test_a_nested_value_is_not_read_and_counted(write_rows, import_cuts):
    rows = [
        {"audio": "wavs/a.wav", "text": "one", "mixed": {"a": 1}, "ok": "x"},
        {"audio": "wavs/b.wav", "text": "two", "mixed": "y", "ok": None},
    ]
    first, second = import_cuts("table", write_rows(rows))
    assert "mixed" not in labels_of(first)
    assert labels_of(second)["mixed"] == "y"
    assert "mine: columns not read: mixed (1 rows)" in import_cuts.lines
    with pytest.raises(DataError, match=r"rows.jsonl:1: 'mixed' is .* -- expected a text, a number"):
        import_cuts("table", write_rows(rows), subset_split="b-train", columns={"mixed": "mixed"})


def test_a_row_needs_a_value_in_a_known_column_if_there_is_one(folder, import_cuts):
    (folder / "many.csv").write_text("audio,text,note\nwavs/a.wav,,x\n")
    with pytest.raises(DataError, match=r"many\.csv:2: the row has no value"):
        import_cuts("table", folder / "many.csv")
    (folder / "many.csv").write_text("audio,speaker\nwavs/a.wav,ada\n")
    (cut,) = import_cuts("table", folder / "many.csv")
    assert labels_of(cut)["speaker"] == "ada"


def test_questions_and_answers_are_imported_as_they_are(folder, import_cuts, render_example):
    (folder / "many.csv").write_text(
        "audio,question,answer\nwavs/a.wav,Is it loud?,yes\nwavs/b.wav,How long?,1 s\n"
    )
    first, second = import_cuts("table", folder / "many.csv")
    assert render_example(first, "aqa", "natural")[0].endswith("Is it loud?yes<|endoftext|>")
    assert render_example(second, "aqa", "natural")[0].endswith("How long?1 s<|endoftext|>")


def test_a_reserved_name_is_refused(write_rows, import_cuts):
    rows = write_rows([{"audio": "wavs/a.wav", "text": "one", "x": "y", "duration": 3, "honesty": "z"}])
    with pytest.raises(UserError, match="'duration', which is reserved or no name"):
        import_cuts("table", rows, columns={"x": "duration"})
    import_cuts("table", rows)
    assert "mine: columns not read: duration (1 rows), honesty (1 rows)" in import_cuts.lines


@pytest.mark.parametrize("value", [None, "", " ", [], {}, ["a"], float("nan")])
def test_an_empty_or_nested_value_is_no_label(value):
    with pytest.raises(DataError, match="'column' is"):
        own_value(value, "column")


def notes_of(values, label="mark"):
    labels = OwnLabels()
    for value in values:
        labels.add({label: value} if value else {})
    return labels.notes()


def test_what_looks_wrong_is_noted():
    assert notes_of(["a", "b"]) == ["labels of your own: mark (a | b)"]
    assert notes_of([]) == notes_of(["", ""]) == []
    assert "label 'mark': 'a' and 'A' are different answers" in notes_of(["a", "A", "b"])
    assert "label 'mark': '0.5' and '0.50' are different answers" in notes_of(["0.5", "0.50"])
    assert "30 values in 30 rows, so it may be an id" in notes_of(list(map(str, range(30))))[1]
    assert len(notes_of([str(n % 10) for n in range(30)])) == 1
    assert "is not the label 'emotion'" in notes_of(["a", "b"], "emotions")[1]


def test_columns_that_are_labels_already_are_not_taken_again():
    options = ImportOptions(columns={"c": ""})
    assert own_columns(["a", "b", "c", "text"], {"b": "a"}, options) == {}
    assert own_columns(["d", "a.b", "start"], {}, options) == {"d": "d"}


def test_the_manifest_keeps_them_in_custom(folder, import_cuts, tmp_path):
    (folder / "many.csv").write_text(CSV)
    import_cuts("table", folder / "many.csv")
    line = json.loads((tmp_path / "data" / "mine" / "all-train.jsonl").read_text().splitlines()[0])
    custom = line["supervisions"][0]["custom"]
    assert custom["dynamic"] == "forte"
    assert custom["honesty"]["dynamic"] == "declared"
