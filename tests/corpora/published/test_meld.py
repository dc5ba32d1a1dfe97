import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.meld import CORPUS
from tests.corpora.tree import cuts_of, labels_of, sound, text

HEADING = (
    "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"
)


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "MELD.Raw"
    row = '1,"Oh, my God!",Rachel,surprise,negative,0,3,8,21,"00:16:16,059","00:16:21,731"\n'
    broken = "2,Hey,Joey,neutral,neutral,125,3,8,21,a,b\n"
    text(root / "train_sent_emo.csv", HEADING + row + broken)
    sound(root / "train_splits" / "dia0_utt3.wav")
    return root


def test_utterances_have_text_and_emotion_and_a_broken_video_is_skipped(source, tmp_path):
    manifests = cuts_of(CORPUS, source.parent, tmp_path / "out")
    assert list(manifests) == ["lines-train"]
    (cut,) = manifests["lines-train"]
    assert labels_of(cut) == {"language": "en", "text": "Oh, my God!", "emotion": "surprise"}


def test_the_error_for_a_video_without_audio_shows_the_ffmpeg_command(source, tmp_path):
    (source / "train_splits" / "dia0_utt3.wav").unlink()
    with pytest.raises(DataError, match=r"ffmpeg -i .*train_splits/dia0_utt3\.mp4"):
        cuts_of(CORPUS, source, tmp_path / "out")


def test_each_table_is_paired_with_its_videos(source, tmp_path):
    row = '1,"Why do all",Mark,neutral,neutral,0,0,3,19,"00:14:38,127","00:14:40,378"\n'
    text(source / "train" / "dev_sent_emo.csv", HEADING + row)  # a copy without videos
    text(source / "test_sent_emo.csv", HEADING + row)
    text(source / "dev" / "dev_sent_emo.csv", HEADING + row)
    sound(source / "test" / "output_repeated_splits_test" / "dia0_utt0.wav")
    sound(source / "dev" / "dev_splits_complete" / "dia0_utt0.wav")
    manifests = cuts_of(CORPUS, source, tmp_path / "out")
    assert sorted(manifests) == ["lines-test", "lines-train", "lines-validation"]
