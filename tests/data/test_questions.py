import numpy as np
import pytest
import soundfile

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.base import CutSetWriter
from audio_lm.corpora.synthetic.writing import CutWriter
from audio_lm.data.manifest.cuts import read_cuts
from audio_lm.data.questions import group_by_question


@pytest.fixture
def wav(tmp_path):
    """Make a short clip; returns its path."""

    def make(name):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, np.full(3200, 0.1, dtype=np.float32), 16_000)
        return path

    return make


@pytest.fixture
def written_cuts(tmp_path):
    """Write rows of id, audio, labels and further arguments, and read them as cuts."""

    def write(*rows):
        folder = tmp_path / "mine"
        folder.mkdir(exist_ok=True)
        writer = CutSetWriter(folder, "mine")
        for cut_id, audio, labels, more in rows:
            writer.add("all-test", cut_id, audio, labels, **more)
        writer.close(lambda line: None)
        return read_cuts(tmp_path, "mine/all-test")

    return write


def ids(groups):
    return [[cut.id for cut in group] for group in groups]


@pytest.mark.parametrize("prompt", ["tags", "natural", "chatml"])
def test_captions_of_one_clip_are_one_question_in_any_order(wav, written_cuts, prompt):
    bell, rain = wav("bell.wav"), wav("rain.wav")
    rows = [
        (f"{n}", clip, {"caption": f"caption {n}"}, {})
        for n, clip in enumerate((bell, rain, bell, rain, bell))
    ]
    assert ids(group_by_question(written_cuts(*rows), "aac", prompt)) == [["0", "2", "4"], ["1", "3"]]


def test_files_of_equal_names_and_segments_of_one_file_are_different_clips(wav, written_cuts):
    one, other = wav("a/1.wav"), wav("b/1.wav")
    cuts = written_cuts(
        ("a", one, {"caption": "x"}, {}),
        ("b", other, {"caption": "x"}, {}),
        ("c", one, {"caption": "x"}, {"duration": 0.1}),
        ("d", one, {"caption": "x"}, {"start": 0.1}),
        ("e", one, {"caption": "x"}, {"more_audio": [other]}),
    )
    assert ids(group_by_question(cuts, "aac", "natural")) == [["a"], ["b"], ["c"], ["d"], ["e"]]


def test_different_questions_about_a_clip_are_not_grouped(wav, written_cuts):
    clip = wav("a.wav")
    questions = ["What is it?", "Is it loud?", "What is it?"]
    cuts = written_cuts(
        *((str(n), clip, {"question": text, "answer": f"{n}"}, {}) for n, text in enumerate(questions))
    )
    assert ids(group_by_question(cuts, "aqa", "tags")) == [["0", "2"], ["1"]]
    into = [
        ("0", clip, {"language": "en", "translation": "x", "target_language": code}, {})
        for code in ("de", "fr")
    ]
    cuts = written_cuts(*((code, *row[1:]) for code, row in zip("ab", into, strict=True)))
    assert ids(group_by_question(cuts, "s2tt", "natural")) == [["a"], ["b"]]


def test_conversations_are_compared_without_their_last_answer(wav, written_cuts):
    def chat(question, answer):
        user = {"role": "user", "content": [{"audio": 1}, {"text": question}]}
        return {"conversation": [user, {"role": "assistant", "content": [{"text": answer}]}]}

    clip = wav("a.wav")
    cuts = written_cuts(
        ("a", clip, chat("Who?", "Ada"), {}),
        ("b", clip, chat("Who?", "Bob"), {}),
        ("c", clip, chat("Why?", "Ada"), {}),
    )
    assert ids(group_by_question(cuts, "chat", "chatml")) == [["a", "b"], ["c"]]


def test_text_only_cuts_are_never_grouped(tmp_path):
    writer = CutWriter(tmp_path, tmp_path)
    for _ in range(2):
        writer.add("all-test", None, {"caption": "x", "places": [["bell", 20]]})
    assert [len(group) for group in group_by_question(writer.cuts("all-test"), "aac", "tags")] == [1, 1]


def test_a_cut_that_lacks_a_label_of_its_question_is_named(wav, written_cuts):
    cuts = written_cuts(("a", wav("a.wav"), {"caption": "x"}, {}))
    with pytest.raises(DataError, match=r"cut 'a': .*'question'"):
        group_by_question(cuts, "aqa", "tags")
    with pytest.raises(DataError, match=r"cut 'a': .*'conversation'"):
        group_by_question(cuts, "chat", "chatml")
