import json

import soundfile

from audio_lm.bench.clips import cut_line, random_seconds, write_audio, write_manifest
from audio_lm.data.manifest.line import read_line


def test_lengths_have_the_documented_distribution():
    seconds = random_seconds(20_000, "test")
    assert 1.0 <= seconds.min() < seconds.max() <= 15.0
    assert abs(seconds.mean() - 5.1) < 0.1
    assert abs(float(sorted(seconds)[10_000]) - 4.4) < 0.1
    assert (seconds == random_seconds(20_000, "test")).all()


def test_written_clips_are_valid_cuts(tmp_path):
    seconds = random_seconds(3, "test")
    path = write_manifest(tmp_path / "made" / "clips-train.jsonl", write_audio(tmp_path / "audio", seconds))
    lines = path.read_bytes().splitlines()
    assert len(lines) == 3
    for text, length in zip(lines, seconds, strict=True):
        cut = read_line(text)
        assert cut.num_samples == (int(length * 16_000),)
        assert soundfile.info(cut.files[0]).frames == cut.num_samples[0]


def test_longer_clips_have_more_words(tmp_path):
    lines = [cut_line("x", tmp_path / "a.flac", 16_000 * seconds) for seconds in (1, 10)]
    num_words = [len(json.loads(json.dumps(line))["supervisions"][0]["text"].split()) for line in lines]
    assert num_words == [2, 25]
