import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import MonoCut, Recording, SupervisionSegment

from audio_lm.data.cuts import (
    check_files,
    check_length,
    labels_of,
    load_waves,
    num_samples_of,
    read_cuts,
    texts_of,
    usable_cuts,
)
from audio_lm.errors import DataError


def cut_of(
    path: Path, *, seconds: float, rate: int = 16_000, channels: int = 1, write: bool = True
) -> MonoCut:
    if write:
        noise = np.random.default_rng(0).normal(0, 0.1, (int(seconds * rate), channels))
        soundfile.write(path, noise.squeeze(), rate)
    recording = Recording.from_file(path, recording_id="r")
    supervision = SupervisionSegment(
        "s", "r", 0.0, seconds, text="one", language="en", custom={"gender": "male"}
    )
    return MonoCut("the-cut", 0.0, recording.duration, 0, recording=recording, supervisions=[supervision])


def test_labels_come_from_the_supervision(tmp_path):
    labels = labels_of(cut_of(tmp_path / "a.wav", seconds=0.5))
    assert labels == {"language": "en", "text": "one", "gender": "male"}


def test_waves_are_mono_16_khz_and_as_long_as_promised(tmp_path, make_cuts):
    for cut in make_cuts(3):
        (wave,) = load_waves(cut)
        assert wave.dtype == np.float32
        assert [len(wave)] == num_samples_of(cut)


def test_another_rate_is_resampled_when_read(tmp_path):
    cut = cut_of(tmp_path / "a.wav", seconds=0.5, rate=22_050)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "x-train.jsonl").write_text(json.dumps(cut.to_dict()) + "\n")
    (read,) = read_cuts(tmp_path, "c/x-train")
    assert len(load_waves(read)[0]) == 8_000


@pytest.mark.parametrize(("seconds", "words"), [(0.02, "needs 3"), (31.0, "longer than the encoder's 30 s")])
def test_clips_the_encoder_cannot_hear_are_named(tmp_path, seconds, words):
    with pytest.raises(DataError, match=rf"'the-cut'.*{words}"):
        check_length(cut_of(tmp_path / "a.wav", seconds=seconds))


def test_long_clips_are_dropped_only_when_asked(tmp_path):
    cuts = [cut_of(tmp_path / "a.wav", seconds=31.0), cut_of(tmp_path / "b.wav", seconds=1.0)]
    assert len(usable_cuts(cuts, source="c/x", long_clips="drop")) == 1
    with pytest.raises(DataError, match=r"31\.0 s"):
        usable_cuts(cuts, source="c/x", long_clips="error")


def test_a_source_without_usable_cuts_is_refused(tmp_path):
    with pytest.raises(DataError, match="'c/x' has no usable cut"):
        usable_cuts([cut_of(tmp_path / "a.wav", seconds=31.0)], source="c/x", long_clips="drop")


def test_a_missing_cut_set_says_how_to_make_it(tmp_path):
    with pytest.raises(DataError, match="audio-lm prepare synthetic"):
        read_cuts(tmp_path, "synthetic/digits-train")


def test_an_empty_cut_set_is_refused(tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "x-train.jsonl").write_text("")
    with pytest.raises(DataError, match="holds no cuts"):
        read_cuts(tmp_path, "c/x-train")


def test_a_missing_file_is_named_with_its_cut(tmp_path):
    cut = cut_of(tmp_path / "a.wav", seconds=0.5)
    (tmp_path / "a.wav").unlink()
    with pytest.raises(DataError, match=r"'the-cut'.*a\.wav is missing"):
        check_files([cut])
    with pytest.raises(DataError, match="'the-cut'"):
        load_waves(cut)


def test_a_corrupt_flac_is_named_with_its_cut(tmp_path):
    path = tmp_path / "a.flac"
    cut = cut_of(path, seconds=2.0)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = b"\x00" * (len(content) - len(content) // 2)
    path.write_bytes(content)
    with pytest.raises(DataError, match="'the-cut'"):
        check_files([cut])
    path.write_bytes(b"no audio at all")
    with pytest.raises(DataError, match=r"'the-cut'.*cannot be decoded"):
        check_files([cut])


def test_values_that_are_not_finite_are_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.full(8_000, np.nan), 16_000, subtype="FLOAT")
    with pytest.raises(DataError, match="not finite"):
        load_waves(cut_of(tmp_path / "a.wav", seconds=0.5, write=False))


def test_a_file_shorter_than_declared_is_not_mirrored(tmp_path):
    cut = cut_of(tmp_path / "a.wav", seconds=1.0)
    soundfile.write(tmp_path / "a.wav", np.zeros(12_000), 16_000)
    with pytest.raises(DataError, match="'the-cut'"):
        load_waves(cut)


def test_every_text_of_the_labels_is_found(make_cuts):
    assert {"one two", "en", "male", "one", "two"} <= set(texts_of(make_cuts(1)))
