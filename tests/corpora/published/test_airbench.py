import json

import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.airbench import CORPUS
from tests.corpora.tree import cuts_of, labels_of, sound, text


def choice(number, path, task="Music_AQA", corpus="music_avqa", **changed):
    """Row of a single-choice question in the publisher's format."""
    return {
        "path": path,
        "question": "Which is louder?",
        "choice_a": "piano",
        "choice_b": "flute",
        "answer_gt": "flute",
        "task_name": task,
        "dataset_name": corpus,
        "uniq_id": number,
    } | changed


OPEN = {
    "path": "1.wav",
    "question": "What is heard?",
    "answer_gt": "A dog, then a car.",
    "task_name": "sound_QA",
    "dataset_name": "clotho",
    "meta_info": "dog, car",
    "uniq_id": 0,
}


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "AIR-Bench-Dataset"
    rows = [
        choice(0, "a.wav"),
        choice(1, "b.wav", task="Audio_Grounding", corpus="AudioGrounding", choice_c="drum", choice_d=None),
        choice(2, "gone.wav"),
    ]
    text(root / "Foundation" / "Foundation_meta.json", json.dumps(rows))
    text(root / "Chat" / "Chat_meta.json", json.dumps([OPEN]))
    sound(root / "Foundation" / "Music_AQA_music_avqa" / "a.wav")
    sound(root / "Foundation" / "Audio_Grounding_AudioGrounding" / "b.flac")
    sound(root / "Chat" / "sound_QA_clotho" / "1.wav")
    return root


def test_questions_include_their_choices_and_answers_their_letter(source, tmp_path):
    manifests = cuts_of(CORPUS, source.parent, tmp_path / "out")
    assert {name: [labels_of(cut) for cut in cuts] for name, cuts in manifests.items()} == {
        "chat_sound-test": [
            {"question": "What is heard?", "answer": "A dog, then a car.", "description": "dog, car"}
        ],
        "foundation_audio_grounding-test": [
            {"question": "Which is louder?\nA. piano\nB. flute\nC. drum", "answer": "B. flute"}
        ],
        "foundation_music_aqa-test": [
            {"question": "Which is louder?\nA. piano\nB. flute", "answer": "B. flute"}
        ],
    }
    assert manifests["foundation_music_aqa-test"][0]["id"] == "foundation-0"


def test_missing_clips_are_counted(source, tmp_path):
    lines = []
    (tmp_path / "out").mkdir()
    CORPUS.write(
        tmp_path / "out", tmp_path / "data", CORPUS.read_settings({"source": str(source)}), lines.append
    )
    assert lines[-1] == "airbench: 1 clips have no audio and were left out, such as 'foundation-2'"


@pytest.mark.parametrize(
    ("half", "rows", "message"),
    [
        ("Foundation", [choice(0, "a.wav", answer_gt="drum")], "foundation-0: answer_gt 'drum' is none of"),
        ("Foundation", [choice(0, "a.wav"), choice(0, "a.wav")], "duplicate id 'foundation-0'"),
        ("Foundation", [choice(0, "a.wav", task_name=None)], "row 1 has no task_name"),
        ("Foundation", {"data": []}, "expected a list of rows"),
        ("Chat", [OPEN | {"task_name": "poetry_QA"}], "chat-0: task 'poetry_QA' is none of"),
    ],
)
def test_the_error_for_a_bad_row_names_it(source, tmp_path, half, rows, message):
    text(source / half / f"{half}_meta.json", json.dumps(rows))
    with pytest.raises(DataError, match=message):
        cuts_of(CORPUS, source, tmp_path / "out")
