import pytest
from lhotse.cut import MonoCut

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.clotho import CORPUS
from audio_lm.data.questions import group_by_question
from tests.corpora.tree import cuts_of, labels_of, sound, text

HEADING = "file_name," + ",".join(f"caption_{number}" for number in range(1, 6)) + "\n"


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "clotho"
    row = 'Distorted AM Radio noise.wav,"A muddled noise, of radio",b,c,d,e\n'
    text(root / "clotho_captions_development.csv", HEADING + row)
    text(root / "clotho_captions_evaluation.csv", HEADING + "Rain.wav,f,g,h,i,j\n")
    sound(root / "development" / "Distorted AM Radio noise.wav", rate=44_100)
    sound(root / "evaluation" / "Rain.wav", rate=44_100)
    return root


def test_every_caption_is_a_cut(source, tmp_path):
    manifests = cuts_of(CORPUS, source, tmp_path / "out")
    assert {name: len(cuts) for name, cuts in manifests.items()} == {"captions-test": 5, "captions-train": 5}
    assert labels_of(manifests["captions-train"][0]) == {"caption": "A muddled noise, of radio"}


def test_five_captions_of_one_clip_are_references_of_one_question(source, tmp_path):
    cuts = [MonoCut.from_dict(cut) for cut in cuts_of(CORPUS, source, tmp_path / "out")["captions-test"]]
    assert [len(same) for same in group_by_question(cuts, "aac", "natural")] == [5]


def test_the_error_for_a_missing_clip_names_it(source, tmp_path):
    (source / "evaluation" / "Rain.wav").unlink()
    with pytest.raises(DataError, match=r"Rain\.wav is missing"):
        cuts_of(CORPUS, source, tmp_path / "out")
