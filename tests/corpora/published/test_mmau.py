import json

import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.mmau import CORPUS
from tests.corpora.tree import cuts_of, labels_of, sound, text

ROW = {
    "id": "a-1",
    "audio_id": "./test-mini-audios/a-1.wav",
    "question": "Who speaks?",
    "choices": ["Man", "Woman"],
    "answer": "Woman",
    "task": "speech",
}


def source(folder, *rows):
    text(folder / "mmau-test-mini.json", json.dumps(rows))
    sound(folder / "test-mini-audios" / "a-1.wav")
    return folder


def test_questions_list_their_choices_with_letters(tmp_path):
    rows = ROW, ROW | {"id": "gone", "audio_id": "./test-mini-audios/gone.wav"}
    manifests = cuts_of(CORPUS, source(tmp_path / "mmau", *rows), tmp_path / "out")
    (cut,) = manifests["test_mini-test"]
    assert labels_of(cut) == {"question": "Who speaks?\nA. Man\nB. Woman", "answer": "B. Woman"}


def test_an_answer_that_is_no_choice_is_named(tmp_path):
    with pytest.raises(DataError, match=r"a-1: answer 'Child' is none of its choices"):
        cuts_of(CORPUS, source(tmp_path / "mmau", ROW | {"answer": "Child"}), tmp_path / "out")
