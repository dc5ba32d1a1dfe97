import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.gtzan import CORPUS, GENRES
from tests.corpora.tree import cuts_of, labels_of, sound


def test_every_tenth_clip_is_a_test_clip_and_none_exceeds_30_s(tmp_path):
    root = tmp_path / "source" / "genres"
    for genre in GENRES:
        for number in (0, 8, 9):
            sound(
                root / genre / f"{genre}.{number:05d}.wav",
                seconds=30.02 if genre == "rock" else 0.3,
                rate=22_050,
            )
    manifests = cuts_of(CORPUS, tmp_path / "source", tmp_path / "out")
    assert {name: len(cuts) for name, cuts in manifests.items()} == {
        "genres-test": 10,
        "genres-train": 10,
        "genres-validation": 10,
    }
    assert {labels_of(cut)["genre"] for cut in manifests["genres-test"]} >= {"hip hop", "rock"}
    assert max(cut["duration"] for cuts in manifests.values() for cut in cuts) == 30.0


def test_the_error_for_a_damaged_clip_names_it(tmp_path):
    path = tmp_path / "genres" / "jazz" / "jazz.00054.wav"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"broken")
    with pytest.raises(DataError, match=r"jazz\.00054\.wav is unusable"):
        cuts_of(CORPUS, tmp_path / "genres", tmp_path / "out")
