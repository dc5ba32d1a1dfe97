import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import AudioSource, MonoCut, MultiCut, Recording, SupervisionSegment
from lhotse.augmentation import LoudnessNormalization, ReverbWithImpulseResponse
from lhotse.utils import fastcopy

from audio_lm.common.errors import DataError
from audio_lm.data.audio import decode
from audio_lm.data.manifest.cuts import (
    check_files,
    check_length,
    check_sources,
    cut_set_path,
    has_cut_set,
    load_waves,
    num_samples_of,
    read_cuts,
    resample_to_16_khz,
    size_of,
    texts_of,
    usable_cuts,
)
from audio_lm.data.manifest.labels import labels_of
from tests.data.audio_files import ffmpeg, tone


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


def test_waves_are_mono_16_khz_and_as_long_as_declared(tmp_path, make_cuts):
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
def test_clips_the_encoder_cannot_process_are_named(tmp_path, seconds, words):
    with pytest.raises(DataError, match=rf"'the-cut'.*{words}"):
        check_length(cut_of(tmp_path / "a.wav", seconds=seconds))


def test_long_clips_are_dropped_only_with_long_audio_drop(tmp_path):
    cuts = [cut_of(tmp_path / "a.wav", seconds=31.0), cut_of(tmp_path / "b.wav", seconds=1.0)]
    assert len(usable_cuts(cuts, source="c/x", long_audio="drop")) == 1
    with pytest.raises(DataError, match=r"31\.0 s"):
        usable_cuts(cuts, source="c/x", long_audio="error")


def test_a_source_without_usable_cuts_is_refused(tmp_path):
    with pytest.raises(DataError, match="'c/x' has no usable cut"):
        usable_cuts([cut_of(tmp_path / "a.wav", seconds=31.0)], source="c/x", long_audio="drop")


def test_a_missing_cut_set_is_refused_with_the_command_that_makes_it(tmp_path):
    with pytest.raises(DataError, match="audio-lm prepare synthetic"):
        read_cuts(tmp_path, "synthetic/digits-train")
    with pytest.raises(DataError, match="audio-lm import FORMAT FILE --into mine/all-train"):
        read_cuts(tmp_path, "mine/all-train")


def test_an_empty_cut_set_is_refused(tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "x-train.jsonl").write_text("")
    with pytest.raises(DataError, match="has no cuts"):
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


@pytest.fixture
def mp3(tmp_path):
    """Complete MP3 with variable bit rate and no frame count in its header."""
    soundfile.write(tmp_path / "source.wav", tone(16_000, 1, 2.0), 16_000)
    path = tmp_path / "a.mp3"
    ffmpeg("-i", str(tmp_path / "source.wav"), *["-q:a", "4", "-write_xing", "0"], str(path))
    return path


def recorded(path, num_samples, rate=16_000, channels=(0,)):
    recording = Recording(
        "r",
        [AudioSource("file", list(channels), str(path))],
        rate,
        num_samples,
        num_samples / rate,
        list(channels),
    )
    return MonoCut("the-cut", 0.0, recording.duration, channels[0], recording=recording)


def test_a_wrong_length_from_a_header_is_named(mp3):
    counted = decode.measure(str(mp3)).num_samples
    estimated = soundfile.info(mp3).frames
    assert estimated < counted / 2
    check_files([recorded(mp3, counted)])
    assert len(load_waves(recorded(mp3, counted))[0]) == counted
    for wrong in (estimated, counted + 4_000):
        with pytest.raises(DataError, match=r"'the-cut'.*a\.mp3 has 2\.\d\d s and its manifest states"):
            check_files([recorded(mp3, wrong)])
        with pytest.raises(DataError, match=r"'the-cut'.*(longer than|ends at)"):
            load_waves(recorded(mp3, wrong))


def test_a_truncated_wav_is_named(tmp_path):
    path = tmp_path / "a.wav"
    cut = cut_of(path, seconds=1.5)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"'the-cut'.*is shorter than its header states: 0\.75 s of 1\.50 s"):
        check_files([cut])
    with pytest.raises(DataError, match="'the-cut'"):
        load_waves(cut)


def test_the_file_length_is_checked_before_speed_and_rate_change(mp3):
    cut = recorded(mp3, decode.measure(str(mp3)).num_samples)
    for changed in (cut.perturb_speed(1.1), cut.perturb_speed(0.9), cut.resample(8_000).resample(16_000)):
        check_files([changed])
        assert len(load_waves(changed)[0]) == num_samples_of(changed)[0]


def test_channels_are_averaged_unless_one_is_selected(tmp_path):
    left, right = tone(16_000, 2, 0.5).T
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], 1), 16_000, subtype="FLOAT")
    both = MultiCut("m", 0.0, 0.5, [0, 1], recording=Recording.from_file(tmp_path / "a.wav"))
    np.testing.assert_allclose(load_waves(both)[0], (left + right) / 2, atol=1e-6)
    for channel, wave in ((0, left), (1, right)):
        cut = MonoCut("c", 0.0, 0.5, channel, recording=both.recording)
        np.testing.assert_array_equal(load_waves(cut)[0], wave)
        alone = recorded(tmp_path / "a.wav", 8_000, channels=[channel])
        np.testing.assert_array_equal(load_waves(alone)[0], wave)
        further = fastcopy(both, custom={"audio_2": alone.recording, "audio_3": both.recording})
        np.testing.assert_array_equal(load_waves(further)[1], wave)
        np.testing.assert_allclose(load_waves(further)[2], (left + right) / 2, atol=1e-6)


def test_opus_is_resampled_to_the_rate_of_its_recording(tmp_path):
    soundfile.write(tmp_path / "a.opus", tone(16_000, 1, 1.0), 16_000, format="OGG", subtype="OPUS")
    assert decode.measure(str(tmp_path / "a.opus")).rate == 48_000
    for rate in (16_000, 48_000):
        (wave,) = load_waves(resample_to_16_khz(recorded(tmp_path / "a.opus", rate, rate)))
        assert len(wave) == 16_000
        assert abs(np.sqrt(np.mean(wave**2)) - np.sqrt(np.mean(tone(16_000, 1, 1.0) ** 2))) < 0.02


def test_no_other_decoder_is_tried(tmp_path):
    """Lhotse itself would try several decoders."""
    path = tmp_path / "a.wav"
    cut = cut_of(path, seconds=0.5)
    path.write_bytes(b"no audio at all")
    with pytest.raises(DataError, match="cannot be decoded") as caught:
        load_waves(cut)
    assert "backend" not in str(caught.value)


def written(folder, text, name="all-train.jsonl"):
    (folder / "mine").mkdir(exist_ok=True)
    (folder / "mine" / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return folder


def test_a_gzip_manifest_is_read(tmp_path):
    cut = cut_of(tmp_path / "a.wav", seconds=0.5)
    text = json.dumps(cut.to_dict()).encode() + b"\n"
    written(tmp_path, text, "all-train.jsonl.gz")
    assert has_cut_set(tmp_path, "mine/all-train")
    assert cut_set_path(tmp_path, "mine/all-train").name == "all-train.jsonl.gz"
    (read,) = read_cuts(tmp_path, "mine/all-train")
    assert read.to_dict() == cut.to_dict()
    assert size_of(cut_set_path(tmp_path, "mine/all-train")) == (1, 0.5)
    written(tmp_path, text)
    with pytest.raises(DataError, match=r"exists twice.*all-train\.jsonl and as .*jsonl\.gz"):
        cut_set_path(tmp_path, "mine/all-train")


@pytest.mark.parametrize(
    "name", ["all-train.jsonl.zst", "all-train.jsonl.bz2", "all-train.json", "all-train.yaml"]
)
def test_a_manifest_in_another_format_is_named_and_not_read(tmp_path, name):
    written(tmp_path, b"x", name)
    assert not has_cut_set(tmp_path, "mine/all-train")
    with pytest.raises(DataError, match=rf"mine/all-train'.*{name} exists.*unpack it"):
        cut_set_path(tmp_path, "mine/all-train")


def test_a_line_that_cannot_be_used_is_named_with_file_line_and_cut(tmp_path):
    cut = cut_of(tmp_path / "a.wav", seconds=0.5)
    fit = json.dumps(cut.to_dict()).encode()
    for bad, why in (
        (b"{", r"cut '\?': the line is not JSON"),
        (fit.replace(b'"en"', b"7"), "cut 'the-cut': its language is 7"),
        (fit.replace(b'"MonoCut"', b'"MixedCut"'), "cut 'the-cut': a cut of type 'MixedCut'"),
    ):
        written(tmp_path, fit + b"\n" + bad + b"\n")
        with pytest.raises(DataError, match=rf"all-train.jsonl:2: {why}"):
            read_cuts(tmp_path, "mine/all-train")
        assert size_of(tmp_path / "mine" / "all-train.jsonl") == (1, 0.5)


@pytest.mark.parametrize("kind", [ReverbWithImpulseResponse, LoudnessNormalization])
def test_a_cut_with_an_unsupported_transform_is_not_loaded(tmp_path, kind):
    cut = cut_of(tmp_path / "a.wav", seconds=0.5)
    other = kind(rir=fastcopy(cut.recording)) if kind is ReverbWithImpulseResponse else kind(target=-20.0)
    for transform in (other, other.to_dict()):
        cut.recording.transforms = [transform]
        for refusing in (load_waves, lambda one: check_sources([one])):
            with pytest.raises(DataError, match=f"cut 'the-cut'.*'{kind.__name__}'.*Resample, Speed"):
                refusing(cut)
    cut.recording.transforms = None
    assert len(load_waves(cut)[0]) == 8_000
