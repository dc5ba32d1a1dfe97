import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.speech_commands import CORPUS
from tests.corpora.tree import cuts_of, labels_of, sound, text


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "speech_commands_v0.02"
    for word in ("yes", "bed"):
        for number in range(3):
            sound(root / word / f"00f0204f_nohash_{number}.wav")
    sound(root / "_background_noise_" / "pink_noise.wav")
    text(root / "validation_list.txt", "yes/00f0204f_nohash_1.wav\n")
    text(root / "testing_list.txt", "bed/00f0204f_nohash_2.wav\n")
    return root


def test_lists_decide_the_split_and_other_words_have_the_keyword_none(source, tmp_path):
    manifests = cuts_of(CORPUS, source, tmp_path / "out")
    assert {name: len(cuts) for name, cuts in manifests.items()} == {
        "v2-test": 1,
        "v2-train": 4,
        "v2-validation": 1,
    }
    assert labels_of(manifests["v2-validation"][0]) == {
        "language": "en",
        "text": "yes",
        "speaker": "00f0204f",
        "keyword": "yes",
    }
    assert labels_of(manifests["v2-test"][0])["keyword"] == "none"


def test_the_error_for_a_missing_list_names_it(source, tmp_path):
    (source / "testing_list.txt").unlink()
    with pytest.raises(DataError, match=r"testing_list\.txt is missing"):
        cuts_of(CORPUS, source, tmp_path / "out")
