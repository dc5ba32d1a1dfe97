import json

import soundfile

from audio_lm.bench.clips import line_of, seconds_of, write_audio, write_manifest
from audio_lm.data.manifest.line import read_line


def test_the_mix_has_the_lengths_that_are_quoted():
    seconds = seconds_of(20_000, "test")
    assert 1.0 <= seconds.min() < seconds.max() <= 15.0
    assert abs(seconds.mean() - 5.1) < 0.1
    assert abs(float(sorted(seconds)[10_000]) - 4.4) < 0.1
    assert (seconds == seconds_of(20_000, "test")).all()


def test_written_clips_keep_the_contract_of_cuts(tmp_path):
    seconds = seconds_of(3, "test")
    path = write_manifest(tmp_path / "made" / "clips-train.jsonl", write_audio(tmp_path / "audio", seconds))
    lines = path.read_bytes().splitlines()
    assert len(lines) == 3
    for text, length in zip(lines, seconds, strict=True):
        found = read_line(text)
        assert found.num_samples == (int(length * 16_000),)
        assert soundfile.info(found.files[0]).frames == found.num_samples[0]


def test_longer_clips_say_more(tmp_path):
    short, long = (line_of("x", tmp_path / "a.flac", 16_000 * count) for count in (1, 10))
    words = [len(json.loads(json.dumps(one))["supervisions"][0]["text"].split()) for one in (short, long)]
    assert words == [2, 25]
