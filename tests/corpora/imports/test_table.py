import pytest

from audio_lm.common.errors import DataError
from audio_lm.data.manifest.labels import labels_of

HEADING = "file_name,text,language,speaker_id,emotion,duration\n"


def test_a_folder_with_a_csv_gives_transcripts_and_other_labels(folder, import_cuts, render_example):
    (folder / "metadata.csv").write_text(
        HEADING + 'wavs/a.wav,"one, two",en,7,happy,0.4\nwavs/c.wav,three,en,8,,0.8\n', encoding="utf-8"
    )
    first, second = import_cuts("table", folder)
    text, num_samples = render_example(first, "asr")
    assert text.endswith("assistant\none, two<|im_end|>")
    assert num_samples == (6_400,)
    assert labels_of(first)["emotion"] == "happy"
    assert "emotion" not in labels_of(second)
    assert first.supervisions[0].speaker == "7"
    assert "mine: columns not read: duration (2 rows)" in import_cuts.lines


def test_a_tab_separated_file_of_common_voice_is_read(folder, import_cuts):
    path = folder / "validated.tsv"
    path.write_text(
        "client_id\tpath\tsentence\tage\tgender\tlocale\n"
        'abc\tb.wav\tHe said "one\ttwenties\tmale_masculine\tzh-CN\n',
        encoding="utf-8",
    )
    (cut,) = import_cuts("table", path, audio_root=folder / "wavs")
    labels = labels_of(cut)
    assert (labels["text"], labels["language"]) == ('He said "one', "zh")
    assert (labels["age"], labels["gender"]) == ("twenties", "male")


def test_json_lines_may_have_lists_and_numbers_and_columns_may_be_assigned(write_rows, import_cuts):
    rows = [
        {
            "clip": {"path": "wavs/a.wav", "bytes": None},
            "label": "dog",
            "events": ["dog", "cat"],
            "pitch": 60,
            "id": "x",
        }
    ]
    (cut,) = import_cuts("table", write_rows(rows), columns={"clip": "audio", "label": "scene"})
    labels = labels_of(cut)
    assert cut.id == "x"
    assert (labels["scene"], labels["events"], labels["pitch"]) == ("dog", ["dog", "cat"], 60)


def test_rows_of_other_splits_are_left_out_and_counted(folder, import_cuts):
    path = folder / "all.csv"
    path.write_text("audio,text,split\nwavs/a.wav,one,train\nwavs/b.wav,two,dev\nwavs/c.wav,three,test\n")
    (cut,) = import_cuts("table", path, "all-validation", language="en")
    assert cut.supervisions[0].text == "two"
    assert "mine: rows of other splits were left out: 1 of test, 1 of train" in import_cuts.lines
    assert len(import_cuts("table", path, "every-train", columns={"split": ""})) == 3


def test_transcripts_without_a_language_are_reported(folder, import_cuts):
    (folder / "metadata.csv").write_text("file_name,text\nwavs/a.wav,one\n")
    (cut,) = import_cuts("table", folder)
    assert labels_of(cut)["language"] == "unknown"
    assert any("1 transcripts have no language" in line for line in import_cuts.lines)


def test_all_bad_lines_are_counted_and_at_most_twenty_are_listed(folder, import_cuts, tmp_path):
    path = folder / "many.csv"
    rows = [f"wavs/gone{number}.wav,one" for number in range(25)]
    path.write_text("audio,text\nwavs/a.wav,one\n" + "\n".join(rows) + "\n")
    with pytest.raises(DataError) as caught:
        import_cuts("table", path)
    heading, *sentences = str(caught.value).splitlines()
    assert heading.startswith("25 lines cannot be imported")
    assert sentences[0].startswith(f"{path}:3: audio ")
    assert len(sentences) == 21
    assert sentences[-1] == "and 5 more"
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("audio,text\nwavs/a.wav\n", "many.csv:2: cells: 1 -- expected 2"),
        ("audio,text\nwavs/a.wav,\n", "many.csv:2: the row has no value"),
        ("audio,text\n,one\n", "many.csv:2: .*expected the path"),
        ("audio,pitch\nwavs/a.wav,high\n", "many.csv:2: 'pitch' is 'high'"),
        ("audio,events\nwavs/a.wav,dog\n", "many.csv:2: 'events' is no list"),
        ("audio,gender\nwavs/a.wav,x\n", "many.csv:2: 'gender' is 'x'"),
        ("audio,text,split\nwavs/a.wav,one,fold1\n", "many.csv:2: 'split' is 'fold1'"),
        ("audio,text,split\nwavs/a.wav,one,test\n", "no rows are left for split 'train'"),
        ('audio,text\nwavs/a.wav,"one\n', "this is not CSV"),
        ("audio,text\n", "has no rows"),
        ("clip,text\nwavs/a.wav,one\n", "no column of audio"),
        ("audio,length (s)\nwavs/a.wav,1\n", "the row has no value"),
        ("audio,transcript,sentence\nwavs/a.wav,one,two\n", "have the same label"),
        ("audio,text,text\nwavs/a.wav,one,two\n", r"many.csv:1: duplicate columns \['text'\]"),
        (
            'audio,text\nwavs/a.wav,"one\nwavs/b.wav,two"\n',
            "many.csv:2: the quote that opens here closes 1 lines below",
        ),
        ("audio,text,locale\nwavs/a.wav,one,xx\n", "many.csv:2: language 'xx' is unknown"),
    ],
)
def test_the_error_for_a_bad_table_names_the_line(folder, import_cuts, text, reason):
    path = folder / "many.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=reason):
        import_cuts("table", path)


def test_a_folder_needs_exactly_one_table(folder, import_cuts):
    with pytest.raises(DataError, match="has 0 of the files"):
        import_cuts("table", folder)
    with pytest.raises(DataError, match=r"expected a file \.csv"):
        import_cuts("table", folder / "wavs" / "a.wav")


def test_a_column_left_out_on_purpose_is_not_reported_as_unread(write_rows, import_cuts):
    rows = [{"audio": "wavs/a.wav", "text": "one", "topic": "x", "path": "old/a.wav"}]
    import_cuts("table", write_rows(rows), columns={"topic": ""})
    assert "mine: columns not read: path (1 rows)" in import_cuts.lines
