import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.synthesis import clips
from audio_lm.corpora.synthesis.clips import read_pools
from tests.corpora.synthesis.labelled_clips import SOURCE


def clips_in(pools):
    return {clip.cut.id: clip for pool in pools.clips.values() for each in pool.values() for clip in each}


def test_clips_have_the_answers_of_their_labels(pools):
    known = clips_in(pools)
    assert len(known) == 24
    assert {clip.source for clip in known.values()} == {SOURCE}
    speech = known["clips-train-00000"]
    assert speech.answers["text"] == "one two"
    assert speech.answers["first_word_times"] == "from 0.00 to 0.15 seconds"
    assert speech.honesty["gender"] == "declared"
    assert known["clips-train-00001"].answers["events"] == "crackle, bell"


def test_many_clips_are_a_sample_by_the_seed(data_dir, monkeypatch):
    monkeypatch.setattr(clips, "MAX_CLIPS", 10)
    first, again, other = (set(clips_in(read_pools(data_dir, [SOURCE], seed=seed))) for seed in (0, 0, 1))
    assert first == again != other
    assert len(first) == 10


def test_conversations_are_no_clips_and_bad_lines_are_named(data_dir, tmp_path):
    (tmp_path / "made").mkdir()
    manifest = tmp_path / "made" / "talks-train.jsonl"
    line = (data_dir / "made" / "clips-train.jsonl").read_text().splitlines()[0]
    manifest.write_text(line.replace('"custom": {', '"custom": {"conversation": [], ', 1) + "\n")
    with pytest.raises(DataError, match="made/talks-train: no clip of up to 30 s has a label"):
        read_pools(tmp_path, ["made/talks-train"], seed=0)
    manifest.write_text('{"id": "x"}\n')
    with pytest.raises(DataError, match=r"talks-train\.jsonl:1: cut 'x'"):
        read_pools(tmp_path, ["made/talks-train"], seed=0)
