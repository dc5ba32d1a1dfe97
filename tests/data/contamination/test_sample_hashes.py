import numpy as np
import pytest
import soundfile

from audio_lm.bench.contamination import TRAINING, write_sets
from audio_lm.data.audio import decode
from audio_lm.data.contamination import sample_hashes
from audio_lm.data.contamination.sample_hashes import UNREAD, hashes_of
from audio_lm.data.manifest.index import IndexRules, compile_source
from audio_lm.data.manifest.lazy_cuts import Rows


@pytest.fixture
def rows(tmp_path):
    write_sets(tmp_path, 6, 3)
    folder = tmp_path / f"{TRAINING}-audio" / "0"
    wave, rate = soundfile.read(folder / "0.wav", dtype="int16")
    # The content decides, not the name: the second file holds FLAC.
    soundfile.write(folder / "1.wav", wave, rate, format="FLAC")
    late = wave.copy()
    late[-1] += 1
    soundfile.write(folder / "2.wav", late, rate)
    soundfile.write(folder / "3.wav", np.zeros_like(wave), rate)
    soundfile.write(folder / "4.wav", wave / 32768, rate, subtype="FLOAT")
    return Rows(
        compile_source(tmp_path / f"{TRAINING}.jsonl", TRAINING, IndexRules(), cache=tmp_path / "cache")
    )


CLIPS = [(row, 0) for row in range(6)]


def test_equal_samples_have_equal_hashes_in_any_lossless_format(rows, tmp_path):
    hashes = hashes_of(rows, CLIPS, is_probe=False, cache=tmp_path / "cache")
    assert hashes[0] == hashes[1] == hashes[4] != UNREAD
    assert hashes[2] not in (hashes[0], UNREAD)
    assert hashes[3] == UNREAD  # silence
    assert len(set(hashes.tolist())) == 4


def test_a_probe_reads_the_middle_only(rows, tmp_path):
    hashes = hashes_of(rows, CLIPS, is_probe=True, cache=tmp_path / "cache")
    assert hashes[0] == hashes[2]
    assert hashes[3] not in (hashes[0], UNREAD)


def test_hashes_are_kept_until_the_audio_changes(rows, tmp_path, monkeypatch):
    cache, reads, read = tmp_path / "cache", [], decode.read

    def counted(*arguments, **named):
        reads.append(arguments)
        return read(*arguments, **named)

    monkeypatch.setattr(sample_hashes.decode, "read", counted)
    first = hashes_of(rows, CLIPS, is_probe=False, cache=cache).tolist()
    assert hashes_of(rows, CLIPS, is_probe=False, cache=cache).tolist() == first
    assert len(reads) == 6
    path = tmp_path / f"{TRAINING}-audio" / "0" / "5.wav"
    wave, rate = soundfile.read(path, dtype="int16")
    soundfile.write(path, wave[::-1], rate)
    assert hashes_of(rows, CLIPS, is_probe=False, cache=cache)[5] not in first
    assert len(reads) == 12


def test_a_file_that_cannot_be_read_has_no_hash(rows, tmp_path):
    (tmp_path / f"{TRAINING}-audio" / "0" / "5.wav").write_bytes(b"nothing")
    assert hashes_of(rows, CLIPS[5:], is_probe=False, cache=tmp_path / "cache").tolist() == [UNREAD]
