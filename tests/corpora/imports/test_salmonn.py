import json

import pytest

from audio_lm.common.errors import DataError
from audio_lm.data.manifest.labels import labels_of


@pytest.fixture
def write(folder):
    def write(rows):
        path = folder / "stage2.json"
        path.write_text(json.dumps({"annotation": rows}, indent=4, ensure_ascii=False), encoding="utf-8")
        return path

    return write


def row(text, task=None, **more):
    return {"path": "wavs/a.wav", "text": text, **({"task": task} if task else {}), **more}


def test_the_task_of_a_row_decides_its_label(write, import_cuts, render_example):
    rows = [
        row("one two"),
        row("eins", "asr_de"),
        row("ein zwei", "translation_en2de"),
        row("A tone.", "audiocaption"),
        row("one", "QA", Q="What do you hear?"),
        row("Female", "gender_recognition"),
        row("Yes", "speaker_verification", expand_wav=["wavs/c.wav"]),
    ]
    cuts = import_cuts("salmonn", write(rows), language="en")
    english, german, translation, caption, question, gender, comparison = map(labels_of, cuts)
    assert (english["text"], english["language"]) == ("one two", "en")
    assert (german["text"], german["language"]) == ("eins", "de")
    assert (translation["translation"], translation["target_language"]) == ("ein zwei", "de")
    assert caption["caption"] == "A tone."
    assert (question["question"], question["answer"]) == ("What do you hear?", "one")
    assert gender["gender"] == "female"
    assert comparison["same_speaker"] == "yes"
    assert render_example(cuts[0], "asr")[0].endswith("assistant\none two<|im_end|>")
    assert render_example(cuts[6], "sv")[1] == (6_400, 12_800)


def test_a_column_sets_the_label_of_a_task_or_leaves_it_out(write, import_cuts):
    rows = [row("Once upon a time ...", "audio_story_telling"), row("W AH N", "phone_recognition")]
    columns = {"audio_story_telling": "caption", "phone_recognition": ""}
    (cut,) = import_cuts("salmonn", write(rows), columns=columns)
    assert labels_of(cut)["caption"] == "Once upon a time ..."
    assert "mine: 1 rows of tasks without a label were left out" in import_cuts.lines
    with pytest.raises(DataError, match=r"no row has the tasks \['keywords'\]"):
        import_cuts("salmonn", write([row("one")]), "other-train", columns={"keywords": "keyword"})


def test_errors_name_the_first_line_of_each_bad_row(write, import_cuts):
    rows = [
        row("one"),
        row("x", "phone_recognition"),
        row("no Q", "QA"),
        row("x", "asr", expand_wav=["wavs/c.wav"]),
    ]
    with pytest.raises(DataError) as caught:
        import_cuts("salmonn", write(rows))
    sentences = str(caught.value).splitlines()[1:]
    starts = [n for n, line in enumerate(write(rows).read_text().splitlines(), 1) if line.strip() == "{"]
    assert [int(sentence.split(":")[1]) for sentence in sentences] == starts[2:]
    for sentence, reason in zip(
        sentences, ("phone_recognition", "'Q' is None", "expand_wav has 1"), strict=True
    ):
        assert reason in sentence


def test_a_file_of_another_layout_is_refused(write, import_cuts, folder):
    path = folder / "list.json"
    path.write_text('[{"path": "wavs/a.wav"}]')
    with pytest.raises(DataError, match="the list 'annotation'"):
        import_cuts("salmonn", path)
    path.write_text('{"annotation": [\n{"path": }]}')
    with pytest.raises(DataError, match=r"list\.json:2: this is not JSON"):
        import_cuts("salmonn", path)
