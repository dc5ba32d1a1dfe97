import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.cochlscene import CORPUS
from tests.corpora.tree import cuts_of, labels_of, sound


def test_folders_name_splits_and_scenes(tmp_path):
    root = tmp_path / "CochlScene"
    sound(root / "Train" / "SubwayStation" / "SubwayStation_user0001_001.wav")
    sound(root / "Val" / "Bus" / "Bus_user0002_001.wav")
    sound(root / "Test" / "ResidentialArea" / "ResidentialArea_user0003_001.wav")
    manifests = cuts_of(CORPUS, tmp_path, tmp_path / "out")
    scenes = {name: [labels_of(cut)["scene"] for cut in cuts] for name, cuts in manifests.items()}
    assert scenes == {
        "scenes-test": ["residential area"],
        "scenes-train": ["subway station"],
        "scenes-validation": ["bus"],
    }


def test_another_folder_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="contain none of Train"):
        cuts_of(CORPUS, tmp_path / "empty", tmp_path / "out")
