import json

import pytest

from audio_lm.common.errors import DataError
from audio_lm.data.manifest.cuts import labels_of


@pytest.fixture
def write(folder):
    def write(rows):
        path = folder / "stage2.json"
        path.write_text(json.dumps({"annotation": rows}, indent=4, ensure_ascii=False), encoding="utf-8")
        return path

    return write


def row(text, task=None, **more):
    return {"path": "wavs/a.wav", "text": text, **({"task": task} if task else {}), **more}


def test_a_task_tells_the_label(write, imported, told):
    rows = [
        row("one two"),
        row("eins", "asr_de"),
        row("ein zwei", "translation_en2de"),
        row("A tone.", "audiocaption"),
        row("one", "QA", Q="What do you hear?"),
        row("Female", "gender_recognition"),
        row("Yes", "speaker_verification", expand_wav=["wavs/c.wav"]),
    ]
    cuts = imported("salmonn", write(rows), language="en")
    english, german, translated, captioned, asked, spoken, compared = map(labels_of, cuts)
    assert (english["text"], english["language"]) == ("one two", "en")
    assert (german["text"], german["language"]) == ("eins", "de")
    assert (translated["translation"], translated["target_language"]) == ("ein zwei", "de")
    assert captioned["caption"] == "A tone."
    assert (asked["question"], asked["answer"]) == ("What do you hear?", "one")
    assert spoken["gender"] == "female"
    assert compared["same_speaker"] == "yes"
    assert told(cuts[0], "asr")[0].endswith("assistant\none two<|im_end|>")
    assert told(cuts[6], "sv")[1] == (6_400, 12_800)


def test_a_column_gives_a_task_its_label_or_leaves_it_out(write, imported):
    rows = [row("Once upon a time ...", "audio_story_telling"), row("W AH N", "phone_recognition")]
    columns = {"audio_story_telling": "caption", "phone_recognition": ""}
    (cut,) = imported("salmonn", write(rows), columns=columns)
    assert labels_of(cut)["caption"] == "Once upon a time ..."
    assert "mine: 1 rows of tasks without a label were left out" in imported.lines
    with pytest.raises(DataError, match=r"no row has the tasks \['keywords'\]"):
        imported("salmonn", write([row("one")]), "other-train", columns={"keywords": "keyword"})


def test_bad_rows_are_named_with_the_line_they_begin_on(write, imported):
    rows = [
        row("one"),
        row("x", "phone_recognition"),
        row("no Q", "QA"),
        row("x", "asr", expand_wav=["wavs/c.wav"]),
    ]
    with pytest.raises(DataError) as caught:
        imported("salmonn", write(rows))
    sentences = str(caught.value).splitlines()[1:]
    starts = [n for n, line in enumerate(write(rows).read_text().splitlines(), 1) if line.strip() == "{"]
    assert [int(sentence.split(":")[1]) for sentence in sentences] == starts[2:]
    for sentence, reason in zip(
        sentences, ("phone_recognition", "'Q' is None", "expand_wav has 1"), strict=True
    ):
        assert reason in sentence


def test_a_file_of_another_layout_is_refused(write, imported, folder):
    path = folder / "list.json"
    path.write_text('[{"path": "wavs/a.wav"}]')
    with pytest.raises(DataError, match="the list 'annotation'"):
        imported("salmonn", path)
    path.write_text('{"annotation": [\n{"path": }]}')
    with pytest.raises(DataError, match=r"list\.json:2: this is not JSON"):
        imported("salmonn", path)
