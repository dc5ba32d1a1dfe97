import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.synthetic.known_clips import (
    Exchange,
    conversation_labels,
    known_clips,
    pools_of,
    weakest_honesty,
)
from audio_lm.corpora.synthetic.writing import CutWriter
from tests.corpora.synthetic.noise_clips import make_writer


def test_clips_are_pooled_by_question_and_answer(tmp_path):
    pools = known_clips(make_writer(tmp_path), "test")
    assert sorted(pools["gender"]) == ["female", "male"]
    assert set(pools["event"]) == {"beep", "crackle"}
    assert all(clip.answers["event"] == "beep" for clip in pools["event"]["beep"])


def test_no_question_is_about_a_spoken_question(tmp_path):
    pools = known_clips(make_writer(tmp_path), "train")
    ids = {clip.cut.id for pool in pools.values() for clips in pool.values() for clip in clips}
    assert ids
    assert not [cut_id for cut_id in ids if cut_id.startswith("spoken_questions")]


def test_a_question_without_words_is_a_clip_only():
    labels = conversation_labels([Exchange("", "yes", "exact"), Exchange("Why?", "no", "declared")])
    assert [turn["content"] for turn in labels["conversation"]] == [
        [],
        [{"text": "yes"}],
        [{"text": "Why?"}],
        [{"text": "no"}],
    ]
    assert labels["honesty"] == {"conversation": "declared"}
    assert weakest_honesty(["exact", "proxy", "declared"]) == "proxy"


def test_no_clips_at_all_name_the_subset(tmp_path):
    with pytest.raises(DataError, match="no clip for 'several-test' -- several are about"):
        pools_of(CutWriter(tmp_path, tmp_path), "test", "several")
