"""Malformed and malicious manifest lines are refused with a message or read; they never run a command.

The mutations are seeded, so the same 2 000 lines are tried everywhere.
"""

import gzip
import json
import random
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from lhotse.cut import Cut

from audio_lm.common.errors import DataError
from audio_lm.data.audio.faults import FaultyAudioError, load_waves_or_fault
from audio_lm.data.examples import ExampleMaker
from audio_lm.data.manifest.cuts import resample_to_16_khz
from audio_lm.data.manifest.index import IndexRules, compile_source
from audio_lm.data.manifest.json_lines import InvalidLineError
from audio_lm.data.manifest.labels import labels_of
from audio_lm.data.manifest.lazy_cuts import Rows
from audio_lm.data.manifest.lhotse_cut import read_cut
from audio_lm.data.manifest.line import read_line
from audio_lm.tasks.registry import CHAT, TASKS

NUM_LINES = 2_000
MAX_BYTES = 500 << 20


def recording(path, **more):
    return {
        "id": "r",
        "sources": [{"type": "file", "channels": [0], "source": str(path)}],
        "sampling_rate": 16_000,
        "num_samples": 16_000,
        "duration": 1.0,
        "channel_ids": [0],
    } | more


def valid_lines(path):
    """Valid lines of all kinds."""
    words = {"word": [["one", 0.1, 0.2, None], ["two", 0.4, 0.3, 0.9]]}
    custom = {
        "gender": "male",
        "age": 30,
        "emotion": "sad",
        "translation": "eins zwei",
        "target_language": "de",
        "turns": [["a", 0.0, 0.5], ["b", 0.5, 1.0]],
        "texts": ["one", "two"],
        "entities": [["one", "number"]],
        "slots": [["number", "one"]],
        "events": ["dog"],
        "event_times": [["dog", 0.1, 0.2]],
        "caption": ["a dog"],
        "question": "who?",
        "answer": "a dog",
        "pitch": 60,
        "velocity": 90,
        "instrument": "flute",
        "qualities": ["bright"],
        "honesty": {"gender": "exact"},
        "conversation": [
            {"role": "user", "content": [{"audio": 1}, {"text": "what?"}]},
            {"role": "assistant", "content": [{"text": "a dog"}]},
        ],
    }
    supervision = {
        "id": "s",
        "recording_id": "r",
        "start": 0.0,
        "duration": 1.0,
        "channel": 0,
        "text": "one two",
        "language": "en",
        "speaker": "a",
        "gender": "male",
        "alignment": words,
        "custom": custom,
    }
    cut = {
        "id": "c",
        "type": "MonoCut",
        "start": 0.0,
        "duration": 1.0,
        "channel": 0,
        "supervisions": [supervision],
        "recording": recording(path),
    }
    chain = [
        {"name": "Volume", "kwargs": {"factor": 0.5}},
        {"name": "Resample", "kwargs": {"source_sampling_rate": 16_000, "target_sampling_rate": 8_000}},
    ]
    faster = recording(path, sampling_rate=8_000, num_samples=8_000, transforms=chain)
    second = supervision | {"id": "t", "speaker": "b", "start": 0.5, "duration": 0.5, "custom": None}
    text = {key: value for key, value in cut.items() if key != "recording"}
    places = [supervision | {"custom": {"places": [["", 3], ["one", 22]]}, "alignment": None}]
    return [
        cut,
        cut | {"recording": faster},
        cut | {"custom": {"audio_2": recording(path), "audio_10": faster, "audio_filepath": "a.wav"}},
        cut | {"supervisions": [supervision, second]},
        cut | {"type": "MultiCut", "channel": [0]},
        text | {"supervisions": places},
    ]


NESTED = json.loads("[" * 60 + "]" * 60)


def junk(rng, path):
    """A value of the wrong type or meaning."""
    rir = {"name": "ReverbWithImpulseResponse", "kwargs": {"rir": recording("touch marker |")}}
    array = {"storage_type": "numpy_files", "storage_path": "/", "storage_key": "x", "shape": [1]}
    command = {"type": "command", "channels": [0], "source": "touch marker"}
    values = [None, True, False, 0, 1, -1, 2, 7, 0.5, -0.5, 1e-9, 10**6, 10**9, 10**30, 10**4000, 1e308]
    values += [
        float("nan"),
        float("inf"),
        -float("inf"),
        "",
        "x",
        "0",
        "1.0",
        "x" * 5000,
        "\ud800",
        "\0",
        "a\0b",
    ]
    values += [[], {}, [[]], [{}], [None], [0], ["x"], [0, 1], [[1, 2, 3]], {"": None}, {"a": 1}, NESTED]
    values += [
        [0] * 1000,
        {"text": "x"},
        {"audio": 10**9},
        [["x", 10**9]],
        [["x", -5, 5]],
        "pipe:touch marker",
    ]
    values += [
        "touch marker |",
        "http://127.0.0.1:9/a.wav",
        "/dev/zero",
        "/dev/stdin",
        "/",
        ".",
        "a.tar@0+9",
        rir,
        [rir],
    ]
    values += [
        array,
        {"array": array, "temporal_dim": 0, "frame_shift": 0.1, "start": 0},
        command,
        [command],
        "{text}",
    ]
    values += [
        recording(path),
        [recording(path)],
        {"width": 1, "height": 1, **array},
        "MixedCut",
        "shar",
        "memory",
    ]
    return rng.choice(values)


def paths_in(value, path=()):
    """Paths of all values in a tree, as tuples of keys."""
    yield path
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from paths_in(value[key], (*path, key))


def mutated(rng, table, path):
    """Copy of a line with one mutated value."""
    table = json.loads(json.dumps(table))
    place = rng.choice([place for place in paths_in(table) if place])
    holder = table
    for key in place[:-1]:
        holder = holder[key]
    kind = rng.choice(["replace", "replace", "replace", "remove", "add", "double", "rename"])
    if kind == "remove":
        del holder[place[-1]]
    elif kind == "add":
        names = [
            "transforms",
            "features",
            "video",
            "custom",
            "audio_3",
            "tracks",
            "x",
            "rejected_audio_1",
            "width",
        ]
        holder = holder if isinstance(holder, dict) else table
        holder[rng.choice(names)] = junk(rng, path)
    elif kind == "double" and isinstance(holder, list):
        holder.extend(holder * rng.choice([1, 50]))
    elif kind == "rename" and isinstance(holder, dict):
        ending = rng.choice(["_", "2", "\ud83d"])
        holder[f"{place[-1]}{ending}"] = holder.pop(place[-1])
    else:
        holder[place[-1]] = junk(rng, path)
    return table


def mutated_line(seed, path):
    """A valid line with mutated values, and sometimes mutated bytes."""
    rng = random.Random(seed)
    table = rng.choice(valid_lines(path))
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        table = mutated(rng, table, path)
    text = json.dumps(table, ensure_ascii=rng.random() < 0.9).encode("utf-8", "surrogatepass")
    if rng.random() < 0.2:
        at, count = rng.randrange(len(text)), rng.choice([0, 1, 20])
        text = text[:at] + rng.randbytes(count) + text[at + rng.choice([0, 1, 1000]) :]
    return text.replace(b"\n", b" ")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "a.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    return path


def use(cut, maker, tasks=(*TASKS, CHAT)):
    """Everything a run does with a valid cut; only expected errors are allowed."""
    labels_of(cut)
    for task in tasks:
        with suppress(DataError):
            maker.example(cut, task)
    with suppress(FaultyAudioError):
        load_waves_or_fault(cut)


def test_the_lines_before_mutation_are_valid(sound, vocabulary):
    for table in valid_lines(sound):
        text = json.dumps(table).encode()
        assert read_line(text).cut_id == "c"
        cut = resample_to_16_khz(read_cut(text))
        use(cut, ExampleMaker(vocabulary, "tags"))
        assert [len(wave) for wave in load_waves_or_fault(cut)] == list(read_line(text).num_samples)


@settings(max_examples=NUM_LINES, derandomize=True, database=None)
@given(st.integers(0, 2**63))
def test_a_mutated_line_is_invalid_or_a_usable_cut(sound, vocabulary, tmp_path_factory, seed):
    text = mutated_line(seed, sound)
    started = time.process_time()
    try:
        line = read_line(text)
    except InvalidLineError:
        with pytest.raises(InvalidLineError, match=r"^.{1,1000}$"):
            read_cut(text)
        return
    cut = resample_to_16_khz(read_cut(text))
    assert isinstance(cut, Cut)
    assert cut.id == line.cut_id
    tasks = random.Random(seed).sample([*TASKS, CHAT], 6)
    use(cut, ExampleMaker(vocabulary, "natural"), ["asr", "srwt-en", *tasks])
    assert time.process_time() - started < 5
    assert not (sound.parent / "marker").exists()


def test_a_manifest_of_mutated_lines_is_compiled_and_every_row_is_read(sound, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit = json.dumps(valid_lines(sound)[0]).encode()
    lines = [mutated_line(seed, sound) for seed in range(NUM_LINES)]
    lines = [line.replace(b'"id": "c"', b'"id": "c%d"' % number) for number, line in enumerate(lines)]
    manifest = tmp_path / "all-train.jsonl"
    manifest.write_bytes(b"\n".join([fit, *lines]))
    rules = IndexRules(long_audio="drop", max_bad_fraction=1.0)
    index = compile_source(manifest, "mine/all-train", rules, cache=tmp_path / "cache")
    assert 0.1 * NUM_LINES < len(index.left_out) < 0.95 * NUM_LINES
    assert len(index) + len(index.left_out) + index.num_dropped == NUM_LINES + 1
    assert all(1 <= invalid.line <= NUM_LINES + 1 and invalid.reason for invalid in index.left_out)
    rows = Rows(index)
    for row in range(len(rows)):
        assert rows.cut(row).id
    assert not (tmp_path / "marker").exists()
    with pytest.raises(DataError, match=r"all-train\.jsonl:\d+: cut "):
        compile_source(manifest, "mine/all-train", IndexRules(), cache=tmp_path / "cache")


def bombs(folder):
    """Write manifests that exceed a limit; yields their paths."""
    texts = {
        "line-of-10-mb": b'{"id": "' + b"x" * (10 << 20) + b'"}\n',
        "nested": b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"\n",
        "wide": b'{"a": [' + b"{}," * 1_300_000 + b"{}]}\n",
        "digits": b'{"id": ' + b"7" * 5_000 + b"}\n",
        "empty-lines": b"\n" * (2 << 20),
        "no-end": b"\0" * (66 << 20),
    }
    for name, text in texts.items():
        path = folder / f"{name}.jsonl"
        path.write_bytes(text)
        yield path
        if name != "no-end":
            packed = folder / f"{name}.jsonl.gz"
            packed.write_bytes(gzip.compress(text, compresslevel=1))
            yield packed
    with gzip.open(folder / "line-of-4-gb.jsonl.gz", "wb", compresslevel=1) as file:
        zeros = b"0" * (16 << 20)
        for _ in range(5):  # more than is ever unpacked
            file.write(zeros)
    yield folder / "line-of-4-gb.jsonl.gz"


SCRIPT = """
import sys, time
from pathlib import Path
from audio_lm.data.manifest.index import IndexRules, compile_source
from audio_lm.common.errors import DataError
for name in sys.argv[2:]:
    started = time.process_time()
    try:
        compile_source(Path(name), "mine/all-train", IndexRules(), cache=Path(sys.argv[1]))
        print("compiled", name)
    except DataError as error:
        print(f"{time.process_time() - started:.2f}", len(str(error)), Path(name).name in str(error), name)
(peak,) = (line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(peak) * 1024)  # getrusage would include the memory of the parent
"""


def test_oversized_manifests_are_refused_in_bounded_time_and_memory(tmp_path):
    (tmp_path / "data").mkdir()
    paths = [str(path) for path in bombs(tmp_path / "data")]
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(tmp_path / "cache"), *paths]
    *found, peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert len(found) == len(paths)
    for row in found:
        seconds, num_chars, is_named, name = row.split()
        assert float(seconds) < 5, name
        assert int(num_chars) < 3_000, name
        assert is_named == "True", name
    assert int(peak) < MAX_BYTES
