import json

import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.vocalsound import CORPUS
from tests.corpora.tree import cuts_of, labels_of, sound, text


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "vocalsound"
    for split, name in (
        ("tr", "f0003_0_throatclearing"),
        ("val", "m0001_0_sigh"),
        ("te", "f0009_0_laughter"),
    ):
        rows = [{"wav": f"/data/sls/audioset/{name}.wav", "labels": "/m/0dl9sf8"}]
        text(root / "datafiles" / f"{split}.json", json.dumps({"data": rows}))
        sound(root / "audio_16k" / f"{name}.wav")
    return root


def test_lists_give_splits_and_file_names_give_sound_and_gender(source, tmp_path):
    manifests = cuts_of(CORPUS, source, tmp_path / "out")
    assert {name: len(cuts) for name, cuts in manifests.items()} == {
        "all-test": 1,
        "all-train": 1,
        "all-validation": 1,
    }
    assert labels_of(manifests["all-train"][0]) == {
        "speaker": "f0003",
        "vocal_sound": "Throat clearing",
        "gender": "female",
    }


def test_the_error_for_an_invalid_list_names_it(source, tmp_path):
    text(source / "datafiles" / "te.json", "[]")
    with pytest.raises(DataError, match=r"te\.json lists no clips"):
        cuts_of(CORPUS, source, tmp_path / "out")
    text(source / "datafiles" / "te.json", json.dumps({"data": [{"wav": "x.wav"}]}))
    with pytest.raises(DataError, match="is not named"):
        cuts_of(CORPUS, source, tmp_path / "out")
