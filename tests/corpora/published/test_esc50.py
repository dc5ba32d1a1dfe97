import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.esc50 import CORPUS
from tests.corpora.tree import cuts_of, labels_of, sound, text

HEADING = "filename,fold,target,category,esc10,src_file,take\n"


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "ESC-50-master"
    rows = [f"{fold}-100-A-{fold}.wav,{fold},{fold},door_wood_knock,False,100,A\n" for fold in range(1, 6)]
    text(root / "meta" / "esc50.csv", HEADING + "".join(rows))
    for fold in range(1, 6):
        sound(root / "audio" / f"{fold}-100-A-{fold}.wav", rate=44_100)
    return root


def test_folds_become_splits_and_classes_events(source, tmp_path):
    manifests = cuts_of(CORPUS, source.parent, tmp_path / "out")
    assert {name: len(cuts) for name, cuts in manifests.items()} == {
        "folds-test": 1,
        "folds-train": 3,
        "folds-validation": 1,
    }
    assert labels_of(manifests["folds-test"][0]) == {"events": ["door wood knock"]}
    assert manifests["folds-test"][0]["id"] == "5-100-A-5"


def test_the_error_for_a_row_without_a_fold_names_it(source, tmp_path):
    text(source / "meta" / "esc50.csv", HEADING + "1-100-A-1.wav,9,1,dog,False,100,A\n")
    with pytest.raises(DataError, match=r"esc50\.csv:2: .*fold of 1 to 5"):
        cuts_of(CORPUS, source, tmp_path / "out")
