import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import MonoCut, Recording, SupervisionSegment
from lhotse.augmentation import LoudnessNormalization, ReverbWithImpulseResponse
from lhotse.utils import fastcopy

from audio_lm.data.cuts import (
    check_files,
    check_length,
    check_sources,
    cut_set_path,
    has_cut_set,
    load_waves,
    num_samples_of,
    read_cuts,
    size_of,
    texts_of,
    usable_cuts,
)
from audio_lm.data.labels import labels_of
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


def written(folder, text, name="all-train.jsonl"):
    (folder / "mine").mkdir(exist_ok=True)
    (folder / "mine" / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return folder


def test_a_packed_manifest_is_read_where_a_recipe_names_it(tmp_path):
    cut = cut_of(tmp_path / "a.wav", seconds=0.5)
    text = json.dumps(cut.to_dict()).encode() + b"\n"
    written(tmp_path, text, "all-train.jsonl.gz")
    assert has_cut_set(tmp_path, "mine/all-train")
    assert cut_set_path(tmp_path, "mine/all-train").name == "all-train.jsonl.gz"
    (read,) = read_cuts(tmp_path, "mine/all-train")
    assert read.to_dict() == cut.to_dict()
    assert size_of(cut_set_path(tmp_path, "mine/all-train")) == (1, 0.5)
    written(tmp_path, text)
    with pytest.raises(DataError, match=r"lies there twice.*all-train\.jsonl and as .*jsonl\.gz"):
        cut_set_path(tmp_path, "mine/all-train")


@pytest.mark.parametrize(
    "name", ["all-train.jsonl.zst", "all-train.jsonl.bz2", "all-train.json", "all-train.yaml"]
)
def test_a_manifest_packed_in_another_way_is_found_and_not_read(tmp_path, name):
    written(tmp_path, b"x", name)
    assert not has_cut_set(tmp_path, "mine/all-train")
    with pytest.raises(DataError, match=rf"mine/all-train'.*{name} is there.*unpack it"):
        cut_set_path(tmp_path, "mine/all-train")


def test_a_line_that_cannot_be_used_is_named_with_file_line_and_cut(tmp_path):
    cut = cut_of(tmp_path / "a.wav", seconds=0.5)
    fit = json.dumps(cut.to_dict()).encode()
    for bad, why in (
        (b"{", r"cut '\?': the line is no JSON"),
        (fit.replace(b'"en"', b"7"), "cut 'the-cut': its language is 7"),
        (fit.replace(b'"MonoCut"', b'"MixedCut"'), "cut 'the-cut': a cut of type 'MixedCut'"),
    ):
        written(tmp_path, fit + b"\n" + bad + b"\n")
        with pytest.raises(DataError, match=rf"all-train.jsonl:2: {why}"):
            read_cuts(tmp_path, "mine/all-train")
        assert size_of(tmp_path / "mine" / "all-train.jsonl") == (1, 0.5)


@pytest.mark.parametrize("kind", [ReverbWithImpulseResponse, LoudnessNormalization])
def test_a_cut_with_a_transform_that_is_not_ours_is_not_loaded(tmp_path, kind):
    cut = cut_of(tmp_path / "a.wav", seconds=0.5)
    other = kind(rir=fastcopy(cut.recording)) if kind is ReverbWithImpulseResponse else kind(target=-20.0)
    for transform in (other, other.to_dict()):
        cut.recording.transforms = [transform]
        for refusing in (load_waves, lambda one: check_sources([one])):
            with pytest.raises(DataError, match=f"cut 'the-cut'.*'{kind.__name__}'.*Resample, Speed"):
                refusing(cut)
    cut.recording.transforms = None
    assert len(load_waves(cut)[0]) == 8_000
