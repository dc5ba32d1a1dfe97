import pytest
from lhotse.cut import MonoCut

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.audiocaps import CORPUS
from audio_lm.data.questions import group_by_question
from tests.corpora.tree import cuts_of, labels_of, sound, text

HEADING = "audiocap_id,youtube_id,start_time,caption\n"


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "audiocaps"
    text(root / "train.csv", HEADING + "91139,r1nicOVtvkQ,130,A woman talks nearby as water pours\n")
    rows = '97151,vfY_TJq7n_U,130,"Rustling occurs, ducks quack"\n97152,vfY_TJq7n_U,130,Ducks on water\n'
    text(root / "val.csv", HEADING + rows)
    text(root / "test.csv", HEADING + "103549,7fmOlUlwoNg,20,Constant rattling noise\n")
    sound(root / "audio" / "r1nicOVtvkQ.wav")
    sound(root / "audio" / "vfY_TJq7n_U.flac")
    return root


def test_every_caption_is_a_cut(source, tmp_path):
    manifests = cuts_of(CORPUS, source.parent, tmp_path / "out")
    captions = {name: [labels_of(cut)["caption"] for cut in cuts] for name, cuts in manifests.items()}
    assert captions == {
        "captions-train": ["A woman talks nearby as water pours"],
        "captions-validation": ["Rustling occurs, ducks quack", "Ducks on water"],
    }
    assert [cut["id"] for cut in manifests["captions-validation"]] == ["val-97151", "val-97152"]


def test_captions_of_one_clip_are_references_of_one_question(source, tmp_path):
    cuts = [
        MonoCut.from_dict(cut) for cut in cuts_of(CORPUS, source, tmp_path / "out")["captions-validation"]
    ]
    assert [len(same) for same in group_by_question(cuts, "aac", "natural")] == [2]


def test_missing_clips_are_counted(source, tmp_path):
    lines = []
    (tmp_path / "out").mkdir()
    CORPUS.write(
        tmp_path / "out", tmp_path / "data", CORPUS.read_settings({"source": str(source)}), lines.append
    )
    assert lines[-1] == "audiocaps: 1 clips have no audio and were left out, such as 'test-103549'"


def test_the_error_for_a_row_without_a_caption_names_it(source, tmp_path):
    text(source / "train.csv", HEADING + "91139,r1nicOVtvkQ,130,\n")
    with pytest.raises(DataError, match=r"train\.csv:2: expected .* a caption"):
        cuts_of(CORPUS, source, tmp_path / "out")
    text(source / "train.csv", "id,caption\n1,A woman talks\n")
    with pytest.raises(DataError, match=r"train\.csv:2: .*publisher's columns"):
        cuts_of(CORPUS, source, tmp_path / "out")
