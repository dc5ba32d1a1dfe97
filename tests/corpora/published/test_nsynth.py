import json

import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.nsynth import CORPUS
from tests.corpora.tree import cuts_of, labels_of, sound, text

NOTE = {
    "note_str": "bass_synthetic_068-049-025",
    "pitch": 49,
    "velocity": 25,
    "instrument_family_str": "synth_lead",
    "qualities": [0, 1],
    "qualities_str": ["dark"],
}


@pytest.fixture
def source(tmp_path):
    for split in ("train", "test"):
        folder = tmp_path / "source" / f"nsynth-{split}.jsonwav.tar.gz" / f"nsynth-{split}"
        text(folder / "examples.json", json.dumps({f"{split}_068-049-025": NOTE}))
        sound(folder / "audio" / f"{split}_068-049-025.wav")
    return tmp_path / "source"


def test_all_unpacked_archives_of_a_folder_are_read(source, tmp_path):
    manifests = cuts_of(CORPUS, source, tmp_path / "out")
    assert {name: len(cuts) for name, cuts in manifests.items()} == {"notes-test": 1, "notes-train": 1}
    assert labels_of(manifests["notes-test"][0]) == {
        "instrument": "synth lead",
        "pitch": 49,
        "velocity": 25,
        "qualities": ["dark"],
    }


def test_errors_name_a_note_without_a_pitch_and_a_truncated_file(source, tmp_path):
    path = source / "nsynth-test.jsonwav.tar.gz" / "nsynth-test" / "examples.json"
    text(path, json.dumps({"x": {key: value for key, value in NOTE.items() if key != "pitch"}}))
    with pytest.raises(DataError, match=r"note 'x' has no pitch"):
        cuts_of(CORPUS, source, tmp_path / "out")
    text(path, '{"x": ')
    with pytest.raises(DataError, match="is not JSON"):
        cuts_of(CORPUS, source, tmp_path / "out")
