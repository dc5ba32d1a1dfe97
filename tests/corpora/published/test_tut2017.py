import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.tut2017 import CORPUS, DEVELOPMENT, EVALUATION
from tests.corpora.tree import cuts_of, labels_of, sound, text


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "tut"
    rows = "audio/b020_90_100.wav\tbeach\tb020\naudio/a1_0_10.wav\tgrocery_store\ta1\n"
    text(root / DEVELOPMENT / "meta.txt", rows)
    text(root / DEVELOPMENT / "evaluation_setup" / "fold1_evaluate.txt", "audio/a1_0_10.wav\tgrocery_store\n")
    text(root / EVALUATION / "meta.txt", "audio/1.wav\tcafe/restaurant\t1\n")
    for path in ("b020_90_100", "a1_0_10"):
        sound(root / DEVELOPMENT / "audio" / f"{path}.wav")
    sound(root / EVALUATION / "audio" / "1.wav")
    return root


def test_the_first_fold_gives_validation_and_the_evaluation_set_test(source, tmp_path):
    manifests = cuts_of(CORPUS, source, tmp_path / "out")
    scenes = {name: [labels_of(cut)["scene"] for cut in cuts] for name, cuts in manifests.items()}
    assert scenes == {
        "scenes-test": ["cafe/restaurant"],
        "scenes-train": ["beach"],
        "scenes-validation": ["grocery store"],
    }


def test_the_error_for_a_line_without_a_scene_names_it(source, tmp_path):
    text(source / EVALUATION / "meta.txt", "audio/1.wav\n")
    with pytest.raises(DataError, match=r"meta\.txt:1"):
        cuts_of(CORPUS, source, tmp_path / "out")
