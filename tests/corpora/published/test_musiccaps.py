import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.musiccaps import CORPUS
from tests.corpora.tree import cuts_of, labels_of, sound, text

HEADING = "ytid,start_s,end_s,audioset_positive_labels,aspect_list,caption,author_id,is_balanced_subset,is_audioset_eval\n"


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "musiccaps"
    present = "-0Gj8-vB1q4,30,40,/m/0140xf,['ballad'],\"A low, soft voice.\",4,False,True\n"
    gone = "-0SdAVK79lg,30,40,/m/0155w,['guitar'],A guitar.,0,False,False\n"
    text(root / "musiccaps-public.csv", HEADING + present + gone)
    sound(root / "audio" / "-0Gj8-vB1q4.wav")
    return root


def test_rows_with_audio_are_cuts(source, tmp_path):
    manifests = cuts_of(CORPUS, source.parent, tmp_path / "out")
    assert list(manifests) == ["captions-test"]
    assert labels_of(manifests["captions-test"][0]) == {"caption": "A low, soft voice."}


def test_missing_clips_are_counted(source, tmp_path):
    lines = []
    (tmp_path / "out").mkdir()
    CORPUS.write(
        tmp_path / "out", tmp_path / "data", CORPUS.read_settings({"source": str(source)}), lines.append
    )
    assert lines[-1] == "musiccaps: 1 clips have no audio and were left out, such as '-0SdAVK79lg'"


def test_a_folder_without_any_audio_is_an_error(source, tmp_path):
    (source / "audio" / "-0Gj8-vB1q4.wav").unlink()
    with pytest.raises(DataError, match="no clip was found"):
        cuts_of(CORPUS, source, tmp_path / "out")
