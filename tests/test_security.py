"""Security of audio: cuts and recordings of others run no command and read no file outside the allowed folders."""

import gzip
import io
import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import AudioSource, MonoCut, Recording, SupervisionSegment
from lhotse.serialization import deserialize_item

from audio_lm.common.errors import DataError
from audio_lm.data.manifest.cuts import load_waves
from audio_lm.data.manifest.index import IndexRules, compile_source
from audio_lm.data.manifest.json_lines import InvalidLineError
from audio_lm.data.manifest.lazy_cuts import Rows
from audio_lm.data.manifest.lhotse_cut import read_cut
from audio_lm.data.manifest.line import read_line
from audio_lm.pipeline.corpora import usable_source
from tests.test_security_files import a_member


def cut_of(kind, source):
    recording = Recording("r", [AudioSource(kind, [0], source)], 16_000, 16_000, 1.0)
    supervision = SupervisionSegment("s", "r", 0.0, 1.0, text="one")
    return MonoCut("c", 0.0, 1.0, 0, recording=recording, supervisions=[supervision])


@pytest.mark.parametrize(
    ("kind", "source", "why"),
    [
        ("command", "touch {marker}; cat {marker}", "could run a command"),
        ("file", "touch {marker} |", "could run a command"),
        ("file", "pipe:touch {marker}", "could run a command"),
        ("url", "http://127.0.0.1:9/a.wav", "could run a command"),
        ("file", "http://127.0.0.1:9/a.wav", "download it"),
    ],
)
def test_audio_that_is_no_file_is_refused_by_every_reader_of_cuts(
    kind, source, why, small, marker, tmp_path, monkeypatch
):
    cut = cut_of(kind, source.format(marker=marker))
    line = json.dumps(cut.to_dict()).encode()
    with pytest.raises(InvalidLineError, match=why):
        read_line(line)
    with pytest.raises(DataError, match=f"cut 'c'.*{why}"):
        load_waves(cut)
    folder = Path(small.data_dir) / "evil"
    folder.mkdir(exist_ok=True)
    (folder / "all-test.jsonl").write_bytes(line + b"\n")
    with pytest.raises(DataError, match=f"cut 'c'.*{why}"):
        usable_source(small, "evil/all-test", "error")


def test_lhotse_itself_would_run_such_a_cut(tmp_path):
    marker = tmp_path / "ran"
    with pytest.raises(Exception, match=r".*"):
        cut_of("command", f"touch {marker}").load_audio()
    assert marker.exists(), "the control"


def reverberant(marker):
    """A recording with an impulse response whose audio is a command."""
    sound = Path(marker).with_name("sound.wav")
    soundfile.write(sound, np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    rir = cut_of("command", f"touch {marker}; cat {sound}").recording
    return Recording.from_file(sound).reverb_rir(rir)


def in_the_recording(marker):
    cut = cut_of("file", "-")
    cut.recording = reverberant(marker)
    return cut.to_dict()


def in_a_further_clip(marker):
    cut = in_the_recording(marker)
    harmless = {key: value for key, value in cut["recording"].items() if key != "transforms"}
    return cut | {"recording": harmless, "custom": {"audio_2": cut["recording"]}}


def in_a_rejected_clip(marker):
    cut = in_a_further_clip(marker)
    return cut | {"custom": {"rejected_audio_1": cut["custom"]["audio_2"]}}


def within_another_transform(marker):
    cut = in_the_recording(marker)
    transform = {"name": "Speed", "kwargs": {"factor": 1.0, "rir": cut["recording"]["transforms"][0]}}
    return cut | {"recording": cut["recording"] | {"transforms": [transform]}}


def in_a_track(marker):
    track = {"cut": in_the_recording(marker), "offset": 0.0}
    return {"id": "c", "type": "MixedCut", "tracks": [track]}


TRANSFORMED = [
    in_the_recording,
    in_a_further_clip,
    in_a_rejected_clip,
    within_another_transform,
    in_a_track,
]


@pytest.mark.parametrize("attack", TRANSFORMED)
def test_no_reader_runs_a_command_of_a_transform(attack, small, marker, tmp_path):
    line = json.dumps(attack(marker)).encode() + b"\n"
    why = "a transform|a cut of type 'MixedCut'"
    for read in (read_line, read_cut):
        with pytest.raises(InvalidLineError, match=why):
            read(line)
    folder = Path(small.data_dir) / "evil"
    folder.mkdir(exist_ok=True)
    for name, content in (("rir-test.jsonl", line), ("packed-test.jsonl.gz", gzip.compress(line))):
        (folder / name).write_bytes(content)
        source = f"evil/{name.partition('.')[0]}"
        with pytest.raises(DataError, match=rf"{name}:1: cut 'c': ({why})"):
            usable_source(small, source, "error")
        with pytest.raises(DataError, match=rf"{name}:1: cut 'c': ({why})"):
            compile_source(folder / name, source, IndexRules(), cache=tmp_path / "cache")


def test_a_transform_added_after_compiling_does_not_run(marker, tmp_path):
    attack = json.dumps(in_the_recording(marker))
    table = json.loads(attack)
    del table["recording"]["transforms"]
    manifest = tmp_path / "all-train.jsonl"
    manifest.write_text(json.dumps(table).ljust(len(attack)) + "\n")
    rows = Rows(compile_source(manifest, "mine/all-train", IndexRules(), cache=tmp_path / "cache"))
    assert len(load_waves(rows.cut(0))[0]) == 16_000
    manifest.write_text(attack + "\n")
    for reader in (rows, pickle.loads(pickle.dumps(rows))):
        with pytest.raises(DataError, match=r"can no longer be read.*'ReverbWithImpulseResponse'"):
            reader.cut(0)
    with pytest.raises(DataError, match=r"cut 'c'.*'ReverbWithImpulseResponse'"):
        load_waves(MonoCut("c", 0.0, 1.0, 0, recording=reverberant(marker)))


def test_a_transform_in_a_tar_does_not_run(small, marker, tmp_path):
    attack = in_the_recording(marker)
    folder = Path(small.data_dir) / "evil" / "shar-test"
    folder.mkdir(parents=True)
    with tarfile.open(folder / "recording.000000.tar", "w") as tar:
        content = marker.with_name("sound.wav").read_bytes()
        tar.addfile(a_member("c.wav", len(content)), io.BytesIO(content))
        placeholder = attack["recording"] | {"sources": [{"type": "shar", "channels": [0], "source": ""}]}
        content = json.dumps(placeholder).encode()
        tar.addfile(a_member("c.json", len(content)), io.BytesIO(content))
    line = json.dumps({key: value for key, value in attack.items() if key != "recording"}).encode()
    (folder / "cuts.000000.jsonl.gz").write_bytes(gzip.compress(line + b"\n"))
    with pytest.raises(DataError, match="cut 'c': a transform"):
        usable_source(small, "evil/shar-test", "error")
    with pytest.raises(DataError, match="cut 'c': a transform"):
        compile_source(folder, "evil/shar-test", IndexRules(), cache=tmp_path / "cache")


def test_lhotse_itself_would_run_such_a_transform(tmp_path):
    marker = tmp_path / "ran"
    deserialize_item(in_the_recording(marker)).load_audio()
    assert marker.exists(), "the control"


def test_audio_outside_the_allowed_folders_is_refused_in_benchmarks_too(small, tmp_path):
    from dataclasses import replace

    folder = Path(small.data_dir) / "evil"
    folder.mkdir(exist_ok=True)
    cut = cut_of("file", str(folder / ".." / ".." / "passwd.wav"))
    (folder / "away-test.jsonl").write_text(json.dumps(cut.to_dict()) + "\n")
    with pytest.raises(DataError, match="lies outside"):
        usable_source(replace(small, audio_roots=[small.data_dir]), "evil/away-test", "error")
