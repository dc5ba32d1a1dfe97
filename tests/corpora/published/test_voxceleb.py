import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.voxceleb import CORPUS
from tests.corpora.tree import cuts_of, labels_of, sound, text


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "voxceleb1"
    rows = ("VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet", "id10001\tA.J._Buckley\tm\tIreland\tdev")
    text(root / "vox1_meta.csv", "\n".join((*rows, "id10270\tEartha_Kitt\tf\tUSA\ttest\n")))
    for name in ("id10001/1zcIwhmdeo4/00001", "id10270/5r0dWxy17C8/00001", "id10270/x6uYqmx31kE/00002"):
        sound(root / "wav" / f"{name}.wav")
    text(root / "veri_test.txt", "1 id10270/5r0dWxy17C8/00001.wav id10270/x6uYqmx31kE/00002.wav\n")
    return root


def test_speakers_have_genders_and_trials_two_clips(source, tmp_path):
    manifests = cuts_of(CORPUS, source.parent, tmp_path / "out")
    assert {name: len(cuts) for name, cuts in manifests.items()} == {
        "speakers-test": 2,
        "speakers-train": 1,
        "trials-test": 1,
    }
    assert labels_of(manifests["speakers-train"][0]) == {"speaker": "id10001", "gender": "male"}
    (trial,) = manifests["trials-test"]
    assert labels_of(trial) == {"same_speaker": "yes"}
    assert trial["custom"]["audio_2"]["sources"][0]["source"].endswith("x6uYqmx31kE/00002.wav")


def test_the_error_for_a_trial_of_one_clip_names_its_line(source, tmp_path):
    text(source / "veri_test.txt", "1 id10270/5r0dWxy17C8/00001.wav\n")
    with pytest.raises(DataError, match=r"veri_test\.txt:1"):
        cuts_of(CORPUS, source, tmp_path / "out")
