import errno
import os
import time
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from lhotse import MonoCut, Recording

from audio_lm.common.errors import DataError
from audio_lm.data.audio import decode, faults
from audio_lm.data.audio.faults import FaultyAudioError, load_waves_or_fault, silence_for
from audio_lm.data.collate import Collator
from audio_lm.data.examples import ExampleMaker, with_example


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "clip.flac"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    return path


def cut_of(path, seconds=1.0, rate=16_000):
    recording = Recording.from_file(path)
    recording = replace(recording, sampling_rate=rate, num_samples=round(seconds * rate), duration=seconds)
    return MonoCut("c", 0.0, seconds, 0, recording=recording)


def gone(path):
    cut = cut_of(path)
    path.unlink()
    return cut


def rewritten(wave=None, rate=16_000, **settings):
    def damage(path):
        cut = cut_of(path)
        soundfile.write(path.with_suffix(".wav"), wave, rate, **settings)
        cut.recording.sources[0].source = str(path.with_suffix(".wav"))
        return cut

    return damage


def bytes_are(change):
    def damage(path):
        cut = cut_of(path)
        path.write_bytes(change(path.read_bytes()))
        return cut

    return damage


def becomes_a_folder(path):
    cut = cut_of(path)
    path.unlink()
    path.mkdir()
    return cut


def becomes_a_pipe(path):
    cut = cut_of(path)
    path.unlink()
    os.mkfifo(path)
    return cut


def of_channels(channels):
    def damage(path):
        cut = cut_of(path)
        cut.recording.sources[0].channels = channels
        cut.recording.channel_ids = channels
        return replace(cut, channel=channels[-1])

    return damage


def encoded(ending, container, subtype):
    """Encode in another format, and truncate to half."""

    def damage(path):
        cut = cut_of(path)
        other = path.with_suffix(f".{ending}")
        soundfile.write(other, NOISE, 16_000, format=container, subtype=subtype)
        other.write_bytes(other.read_bytes()[: other.stat().st_size // 2 + 50])
        cut.recording.sources[0].source = str(other)
        return cut

    return damage


def cut_short(damage, num_bytes):
    def damage_and_truncate(path):
        cut = damage(path)
        wav = path.with_suffix(".wav")
        wav.write_bytes(wav.read_bytes()[:num_bytes])
        return cut

    return damage_and_truncate


def flipped(content):
    middle = len(content) // 2
    return (
        content[:middle]
        + bytes(255 - byte for byte in content[middle : middle + 400])
        + content[middle + 400 :]
    )


NOISE = np.random.default_rng(1).normal(0, 0.1, 16_000)
FAULTS = {
    "gone": (gone, "missing"),
    "empty": (bytes_are(lambda content: b""), "decode"),
    "random bytes": (bytes_are(lambda content: bytes(range(256)) * 20), "decode"),
    "text": (bytes_are(lambda content: b"404 not found"), "decode"),
    "cut off": (bytes_are(lambda content: content[: len(content) // 3]), "decode"),
    "flipped bits": (bytes_are(flipped), "decode"),
    "half as long": (rewritten(NOISE[:8_000]), "short"),
    "30 ms too short": (rewritten(NOISE[:-480]), "short"),
    "another rate": (rewritten(NOISE[:8_000], 8_000), "rate"),
    "48 kHz": (rewritten(np.tile(NOISE, 3), 48_000), "rate"),
    "a folder": (becomes_a_folder, "decode"),
    "wav cut off": (cut_short(rewritten(NOISE), 9_000), "short"),
    "wav header alone": (cut_short(rewritten(NOISE), 44), "short"),
    "cut past the end": (lambda path: cut_of(path, seconds=1.4), "short"),
    "no samples": (rewritten(NOISE[:0]), "short"),
    "nan": (rewritten(np.where(np.arange(16_000) == 99, np.nan, NOISE), subtype="FLOAT"), "nonfinite"),
    "infinite": (rewritten(np.where(np.arange(16_000) == 99, np.inf, NOISE), subtype="FLOAT"), "nonfinite"),
    "all zero": (rewritten(np.zeros(16_000)), "silent"),
    "50 times too loud": (rewritten(NOISE * 500, subtype="FLOAT"), "range"),
    "a pipe": (becomes_a_pipe, "decode"),
    "twice as long": (rewritten(np.tile(NOISE, 2)), "short"),
    "half the rate, twice the seconds": (rewritten(NOISE, 8_000), "rate"),
    "fewer channels": (of_channels([0, 1, 2]), "decode"),
    "an mp3 cut off": (encoded("mp3", "MP3", "MPEG_LAYER_III"), "short"),
    "an ogg cut off": (encoded("ogg", "OGG", "VORBIS"), "decode"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_classified_and_costs_only_its_own_conversation(path, make_cuts, vocabulary, kind):
    damage, reason = FAULTS[kind]
    bad = damage(path)
    with pytest.raises(FaultyAudioError) as caught:
        load_waves_or_fault(bad)
    assert caught.value.reason == reason

    good = make_cuts(2)
    bad.supervisions = good[0].supervisions
    maker = ExampleMaker(vocabulary, "tags")
    cuts = [with_example(cut, maker.example(cut, "asr", source="made/x")) for cut in (good[0], bad, good[1])]
    pack = Collator(load=load_waves_or_fault)(cuts)
    clean = Collator()([cuts[0], cuts[2]])
    assert [fault[:4] for fault in pack.faults] == [("c", "asr", "made/x", reason)]
    assert pack.cut_ids == (good[0].id, "c", good[1].id)
    assert pack.labels.tolist() == clean.labels.tolist()
    assert np.isfinite(pack.waves.numpy()).all()
    alone = Collator(load=load_waves_or_fault)(cuts[1:2])
    assert alone.num_learned == 0
    assert len(alone.faults) == 1


def test_a_file_may_differ_slightly_from_its_declared_length(path):
    for count in (16_000, 16_001):
        soundfile.write(path, NOISE[:count], 16_000)
        assert [len(wave) for wave in load_waves_or_fault(cut_of(path))] == [16_000]


def test_silence_has_the_lengths_of_the_clips(path):
    assert [len(wave) for wave in silence_for(cut_of(path))] == [16_000]


def test_a_transient_fault_is_retried(path, monkeypatch):
    reads = []
    load = faults.load_waves

    def flaky(cut):
        reads.append(cut.id)
        if len(reads) < 3:
            raise DataError("away") from OSError(errno.EIO, "input/output error")
        return load(cut)

    monkeypatch.setattr(faults, "load_waves", flaky)
    monkeypatch.setattr(faults, "FIRST_PAUSE", 0.001)
    assert len(load_waves_or_fault(cut_of(path))) == 1
    assert len(reads) == 3


def hang_after_the_first_alarm():
    try:
        time.sleep(20)
    except Exception:
        time.sleep(20)


def hang_in_a_callback():
    """Swallow even the alarm, like a library that calls Python from C."""
    for _ in range(2):
        try:
            time.sleep(20)
        except BaseException:
            continue
    time.sleep(20)


def hang_and_reraise():
    try:
        time.sleep(20)
    except BaseException as error:
        raise DataError("it hung") from error


def hang_forever():
    while True:
        try:
            time.sleep(20)
        except Exception:
            continue


@pytest.mark.parametrize(
    "hang", [hang_forever, hang_after_the_first_alarm, hang_in_a_callback, hang_and_reraise]
)
def test_a_hanging_read_is_interrupted(path, monkeypatch, hang):
    monkeypatch.setattr(faults, "load_waves", lambda cut: hang())
    monkeypatch.setattr(faults, "MAX_READ_SECONDS", 0.1)
    monkeypatch.setattr(faults, "REPEAT_ALARM_SECONDS", 0.1)
    started = time.monotonic()
    with pytest.raises(FaultyAudioError) as caught:
        load_waves_or_fault(cut_of(path))
    assert caught.value.reason == "timeout"
    assert time.monotonic() - started < 5
    time.sleep(0.3)  # no alarm is pending


def test_a_pipe_is_refused_without_blocking(path):
    cut = becomes_a_pipe(path)
    started = time.monotonic()
    with pytest.raises(FaultyAudioError, match="no regular file"):
        load_waves_or_fault(cut)
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    "kind", [AssertionError, ValueError, RuntimeError, IndexError, MemoryError, StopIteration]
)
def test_any_exception_of_a_decoder_is_a_fault_of_its_clip(path, monkeypatch, kind):
    def fail(*_, **__):
        raise kind("strange bytes")

    monkeypatch.setattr(decode, "read", fail)
    with pytest.raises(FaultyAudioError, match="strange bytes") as caught:
        load_waves_or_fault(cut_of(path))
    assert caught.value.reason == "decode"
