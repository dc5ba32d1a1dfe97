import json

import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.music_avqa import CORPUS
from tests.corpora.tree import cuts_of, labels_of, sound, text


def row(**changed):
    """Row in the publisher's format: lists as JSON text, and the key ``anser`` as published."""
    return {
        "video_id": "00000093",
        "question_id": 12,
        "type": '["Audio", "Counting"]',
        "question_content": "How many musical instruments were heard throughout the video?",
        "templ_values": "[]",
        "question_deleted": 0,
        "anser": "one",
    } | changed


LOUDER = row(
    type='["Audio", "Comparative"]',
    question_content="Is the <Object> louder than the <Object>?",
    templ_values='["electric_bass", "piano"]',
    anser="yes",
)
VISUAL = row(video_id="00000153", type='["Audio-Visual", "Existential"]', anser="yes")


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "MUSIC-AVQA" / "data"
    text(root / "json" / "avqa-train.json", json.dumps([row(), VISUAL, LOUDER]))
    text(root / "json" / "avqa-test.json", json.dumps([row()]))
    sound(root / "audio" / "00000093.wav")
    return root


def test_only_questions_on_audio_are_kept_with_their_fields_filled(source, tmp_path):
    manifests = cuts_of(CORPUS, source.parent, tmp_path / "out")
    assert {name: len(cuts) for name, cuts in manifests.items()} == {"audio-test": 1, "audio-train": 2}
    assert [labels_of(cut) for cut in manifests["audio-train"]] == [
        {"question": "How many musical instruments were heard throughout the video?", "answer": "one"},
        {"question": "Is the electric bass louder than the piano?", "answer": "yes"},
    ]
    assert [cut["id"] for cut in manifests["audio-train"]] == ["train-1", "train-3"]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (LOUDER | {"templ_values": '["piano"]'}, r"row 1: the question has more placeholders"),
        (row(type="Audio"), r"row 1: type is 'Audio' -- expected a JSON list"),
        (row(anser=""), r"row 1 has no anser"),
    ],
)
def test_the_error_for_a_bad_row_names_it(source, tmp_path, broken, message):
    text(source / "json" / "avqa-train.json", json.dumps([broken]))
    with pytest.raises(DataError, match=r"avqa-train\.json: " + message):
        cuts_of(CORPUS, source, tmp_path / "out")


def test_the_error_for_a_video_without_audio_shows_the_ffmpeg_command(source, tmp_path):
    (source / "audio" / "00000093.wav").unlink()
    with pytest.raises(DataError, match=r"ffmpeg -i .*video/00000093\.mp4"):
        cuts_of(CORPUS, source, tmp_path / "out")
