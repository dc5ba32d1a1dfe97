import json
import multiprocessing
import os
import re
import signal
import stat
import sys
from functools import partial

import numpy as np
import pytest
import soundfile

from audio_lm.common import seals
from audio_lm.common.errors import DataError, UserError
from audio_lm.common.seals import folder_fault
from audio_lm.data.manifest.index import IndexRules, compile_source
from tests.data.audio_files import ffmpeg, tone
from tests.data.manifest.test_line import INVALID
from tests.forked import killed_after

RELAXED = IndexRules(max_bad_fraction=0.5)


@pytest.fixture
def manifest(tmp_path):
    """Ten cuts over two files; the path of the manifest."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        soundfile.write(tmp_path / f"{name}.wav", rng.normal(0, 0.1, 16_000 * 50), 16_000)
    path = tmp_path / "made" / "noise-train.jsonl"
    path.parent.mkdir()
    path.write_text("".join(json.dumps(cut(tmp_path, number)) + "\n" for number in range(10)))
    return path


def cut(folder, number, **changed):
    return {
        "id": f"c{number}",
        "type": "MonoCut",
        "start": float(number),
        "duration": 1.0 + number / 10,
        "channel": 0,
        "supervisions": [
            {"id": f"c{number}", "recording_id": "r", "start": 0.0, "duration": 1.0, "channel": 0}
        ],
        "recording": {
            "id": "r",
            "sources": [{"type": "file", "channels": [0], "source": str(folder / f"{'ab'[number % 2]}.wav")}],
            "sampling_rate": 16_000,
            "num_samples": 800_000,
            "duration": 50.0,
        },
    } | changed


def compiled(manifest, rules=IndexRules()):  # noqa: B008
    return compile_source(manifest, "made/noise-train", rules, cache=manifest.parents[1] / "cache")


def rewritten(manifest, lines):
    manifest.write_text("".join(line if line.endswith("\n") else line + "\n" for line in lines))


def test_every_line_is_at_its_offset(manifest):
    index = compiled(manifest)
    assert len(index) == 10
    text = manifest.read_bytes()
    for number, offset in enumerate(index.offset):
        assert json.loads(text[offset:].split(b"\n")[0])["id"] == f"c{number}"
    assert index.num_samples.tolist() == [round(16_000 * (1 + number / 10)) for number in range(10)]
    assert index.hours == pytest.approx(14.5 / 3600)


def test_an_index_is_compiled_once_and_again_when_the_manifest_changes(manifest):
    one = compiled(manifest)
    made = {path: path.stat().st_mtime_ns for path in manifest.parents[1].rglob("*.npy")}
    assert compiled(manifest).digest == one.digest
    assert made == {path: path.stat().st_mtime_ns for path in manifest.parents[1].rglob("*.npy")}
    rewritten(manifest, manifest.read_text().splitlines()[:7])
    other = compiled(manifest)
    assert len(other) == 7
    assert other.digest != one.digest


def test_invalid_lines_are_left_out_and_named(manifest):
    lines = manifest.read_text().splitlines()
    lines[3] = '{"id": "broken"'
    lines[6] = lines[5]
    rewritten(manifest, lines)
    index = compiled(manifest, RELAXED)
    assert len(index) == 8
    assert [(invalid.line, invalid.cut_id) for invalid in index.left_out] == [(4, "?"), (7, "c5")]
    assert "same id" in index.left_out[1].reason
    with pytest.raises(DataError, match=r"2 of 10 lines.*max_bad_fraction=0.001.*\n.*noise-train\.jsonl:4"):
        compiled(manifest)


@pytest.mark.parametrize(("text", "reason"), INVALID)
def test_any_invalid_line_is_named_with_file_and_line_and_the_others_stay(manifest, text, reason):
    clean = compiled(manifest)
    lines = manifest.read_bytes().splitlines(keepends=True)
    manifest.write_bytes(b"".join([*lines[:3], text.strip() + b"\n", *lines[3:]]))
    index = compiled(manifest, RELAXED)
    assert [invalid.line for invalid in index.left_out] == [4]
    assert re.search(reason, index.left_out[0].reason)
    assert index.num_samples.tolist() == clean.num_samples.tolist()
    with pytest.raises(DataError, match=r"1 of 11 lines.*\n.*noise-train\.jsonl:4: cut "):
        compiled(manifest)


def test_unreadable_audio_keeps_its_row_and_is_named(manifest):
    lines = manifest.read_text().splitlines()
    lines[2] = json.dumps(json.loads(lines[2].replace("a.wav", "gone.wav")))
    rewritten(manifest, lines)
    index = compiled(manifest, RELAXED)
    assert len(index) == 10
    assert [(invalid.line, invalid.cut_id) for invalid in index.unreadable] == [(3, "c2")]
    assert "gone.wav is missing" in index.unreadable[0].reason
    with pytest.raises(DataError, match=r"1 of 3 audio files"):
        compiled(manifest)


def test_a_cut_set_without_usable_cuts_is_refused(manifest):
    rewritten(manifest, ["{}", "[]"])
    with pytest.raises(DataError, match=r"no usable cut; it has 2 lines\n.*:1: "):
        compiled(manifest, RELAXED)


@pytest.mark.parametrize(
    ("rule", "starts", "seconds"),
    [("truncate", [0], [30.0]), ("chunk", [0, 480_000], [30.0, 10.0]), ("drop", [], [])],
)
def test_long_clips_follow_the_rule(manifest, rule, starts, seconds):
    long = cut(manifest.parents[1], 0, id="long", start=0.0, duration=40.0)
    rewritten(manifest, [*manifest.read_text().splitlines(), json.dumps(long)])
    index = compiled(manifest, IndexRules(long_audio=rule))
    assert index.start[10:].tolist() == starts
    assert (index.num_samples[10:] / 16_000).tolist() == seconds
    assert index.num_dropped == (rule == "drop")
    with pytest.raises(DataError, match=r"jsonl:11: cut 'long': 40.0 s is longer"):
        compiled(manifest)


@pytest.mark.parametrize("rule", ["error", "drop", "truncate", "chunk"])
def test_long_clips_of_a_conversation_follow_the_rule(manifest, rule):
    folder = manifest.parents[1]
    second = cut(folder, 1)["recording"]
    first = cut(
        folder, 0, id="first", start=0.0, duration=40.0, custom={"audio_2": second | {"num_samples": 80_000}}
    )
    further = cut(folder, 0, id="further", custom={"audio_2": second})
    counts = {}
    for conversation in (first, further):
        rewritten(manifest, [*manifest.read_text().splitlines()[:10], json.dumps(conversation)])
        try:
            counts[conversation["id"]] = (
                compiled(manifest, IndexRules(long_audio=rule)).num_samples[10:].tolist()
            )
        except DataError as error:
            counts[conversation["id"]] = str(error).split("; ")[0].partition(", and ")[2]
    assert (
        counts
        == {
            "error": {"first": "", "further": ""},
            "drop": {"first": [], "further": []},
            "truncate": {
                "first": [480_000 + 80_000],
                "further": "long_audio=truncate does not apply to a further clip",
            },
            "chunk": dict.fromkeys(
                ("first", "further"), "long_audio=chunk does not apply to one of several clips"
            ),
        }[rule]
    )


def _compile_forever(manifest):
    for share in range(1, 10_000):
        compiled(manifest, IndexRules(max_bad_fraction=share / 10_000))


def is_whole(folder):
    """True if an index has all rows that it states."""
    if not (folder / "index.json").is_file():
        return False
    num_rows = json.loads((folder / "index.json").read_text())["num_lines"]
    try:
        return all(
            len(np.load(folder / f"{name}.npy")) == num_rows for name in ("offset", "start", "num_samples")
        )
    except (OSError, ValueError, EOFError):
        return False


@pytest.fixture
def estimated(manifest):
    """Manifest of a two-second MP3 with the inexact length of its header."""
    folder = manifest.parents[1]
    soundfile.write(folder / "source.wav", tone(16_000, 1, 2.0), 16_000)
    ffmpeg("-i", str(folder / "source.wav"), *["-q:a", "4", "-write_xing", "0"], str(folder / "a.mp3"))
    count = soundfile.info(folder / "a.mp3").frames
    recording = cut(folder, 0)["recording"] | {"num_samples": count, "duration": count / 16_000}
    recording["sources"] = [{"type": "file", "channels": [0], "source": str(folder / "a.mp3")}]
    line = cut(folder, 0, duration=count / 16_000, recording=recording)
    line["supervisions"][0]["duration"] = line["duration"]
    rewritten(manifest, [json.dumps(line)])
    return manifest


def test_a_wrong_length_from_a_header_is_named_with_its_line(estimated):
    with pytest.raises(
        DataError, match=r"noise-train\.jsonl:1: cut 'c0': .*a\.mp3 has 2\.\d\d s and its manifest states"
    ):
        compiled(estimated)
    index = compiled(estimated, IndexRules(max_bad_fraction=1.0))
    assert len(index.unreadable) == 1


def test_a_missing_decoder_package_stops_the_compilation(estimated, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"a\.mp3.*audio-lm\[codecs\]") as caught:
        compiled(estimated, IndexRules(max_bad_fraction=1.0))
    assert not isinstance(caught.value, DataError)


def test_a_killed_compilation_leaves_only_complete_indexes(manifest):
    context = multiprocessing.get_context("fork")
    for attempt in range(10):
        moments = (
            900 + 1700 * attempt,
            1500 + 2100 * attempt,
        )  # in function calls; compiling takes some thousand
        compiling = [
            context.Process(target=killed_after, args=(moment, partial(_compile_forever, manifest)))
            for moment in moments
        ]
        for process in compiling:
            process.start()
        for process in compiling:
            process.join(60)
            assert process.exitcode == -signal.SIGKILL
    folders = list((manifest.parents[1] / "cache" / "made" / "noise-train").iterdir())
    whole = [folder for folder in folders if not folder.name.startswith(".")]
    assert whole
    assert all(is_whole(folder) for folder in whole)
    assert len(compiled(manifest)) == 10
    half = whole[0] / "offset.npy"
    half.write_bytes(half.read_bytes()[:-8])
    assert not is_whole(whole[0])  # a truncated index would be noticed


def _compile_together(manifest, barrier, answers):
    found = []
    for share in range(1, 21):
        barrier.wait(20)
        index = compiled(manifest, IndexRules(max_bad_fraction=share / 1000))
        found.append((index.folder, index.offset.tolist(), index.num_samples.tolist()))
    answers.put(found)


def test_two_processes_that_compile_at_once_get_the_same_complete_index(manifest):
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(2), context.Queue()
    compiling = [
        context.Process(target=_compile_together, args=(manifest, barrier, answers)) for _ in range(2)
    ]
    for process in compiling:
        process.start()
    one, other = answers.get(timeout=30), answers.get(timeout=30)
    for process in compiling:
        process.join(30)
    assert one == other
    assert len({folder for folder, _, _ in one}) == 20
    folders = list((manifest.parents[1] / "cache" / "made" / "noise-train").iterdir())
    assert len(folders) == 20  # no partial index is left
    assert all(is_whole(folder) for folder in folders)


def test_an_index_replaced_between_check_and_load_is_loaded_again(manifest, monkeypatch):
    before = compiled(manifest)
    aside, checks = before.folder.with_name("aside"), []

    def checked(folder):
        """Check a folder, and remove it after the first check, as if another process were replacing it."""
        fault = folder_fault(folder)
        checks.append(fault)
        if len(checks) == 1:
            folder.rename(aside)
        return fault

    monkeypatch.setattr(seals, "folder_fault", checked)
    assert compiled(manifest).offset.tolist() == before.offset.tolist()
    assert checks[0] is None
    assert len(checks) > 1


def test_damage_of_any_file_of_an_index_is_repaired(manifest, caplog):
    before = compiled(manifest)
    lists = before.offset.tolist(), before.num_samples.tolist()
    for path in sorted(before.folder.iterdir()):
        raw = path.read_bytes()
        flipped = raw[:-2] + bytes([raw[-2] ^ 16]) + raw[-1:]
        for damage in (b"", raw[: len(raw) // 2], flipped):
            path.write_bytes(damage)
            caplog.clear()
            after = compiled(manifest)
            assert (after.offset.tolist(), after.num_samples.tolist()) == lists
            (line,) = [record.message for record in caplog.records]
            assert path.name in line
            assert str(before.folder) in line


def test_an_index_of_an_older_release_is_compiled_again(manifest):
    folder = compiled(manifest).folder
    (folder / "MANIFEST.json").unlink()
    (folder / "audio.npy").unlink()
    assert len(compiled(manifest)) == 10
    assert (folder / "audio.npy").is_file()


def test_permissions_of_an_index_follow_the_umask(manifest):
    before = os.umask(0o027)
    try:
        folder = compiled(manifest).folder
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o640}


def test_a_cache_that_cannot_be_written_is_refused_with_the_setting(manifest):
    (manifest.parents[1] / "cache").write_text("a file")
    with pytest.raises(UserError, match="set cache_dir to a folder you may write to"):
        compiled(manifest)


def test_a_manifest_of_mostly_invalid_lines_is_not_read_to_its_end(manifest, monkeypatch):
    monkeypatch.setattr("audio_lm.data.manifest.index.MANY_INVALID", 10)
    manifest.write_bytes(b"\n" * 1000)
    with pytest.raises(DataError, match=r"10 of 10 first lines.*are invalid"):
        compiled(manifest)


def test_an_index_stores_and_enforces_the_audio_roots(manifest):
    index = compiled(manifest, IndexRules(roots=(str(manifest.parents[1]),)))
    assert index.roots == (str(manifest.parents[1]),)
    with pytest.raises(DataError, match=r"it has 10 lines\n.*lies outside"):
        compiled(manifest, IndexRules(roots=(str(manifest.parent),)))


@pytest.mark.parametrize("name", ["mine", "méin", 'qu"ote'])
def test_the_same_rows_in_another_folder_have_the_same_digest(manifest, tmp_path, name):
    def made(folder, seconds=1.0, *, is_ascii=False):
        path = tmp_path / name / folder / "made" / "noise-train.jsonl"
        path.parent.mkdir(parents=True)
        for audio in ("a.wav", "b.wav"):
            (path.parent / audio).write_bytes((tmp_path / audio).read_bytes())
        cuts = [cut(path.parent, number, duration=seconds) for number in range(10)]
        path.write_text("".join(json.dumps(table, ensure_ascii=is_ascii) + "\n" for table in cuts))
        return compile_source(path, "made/noise-train", IndexRules(), cache=tmp_path / "cache").digest

    assert made("one") == made("another/one") != made("third", 1.5)
    assert made("escaped", is_ascii=True) == made("escaped/too", is_ascii=True)


def test_the_digest_depends_on_the_rows_and_not_on_the_limits(manifest):
    whole = compiled(manifest)
    folder = manifest.parents[1]
    for rules in (RELAXED, IndexRules(roots=(str(folder),)), IndexRules(max_bad_fraction=1.0, roots=("/",))):
        assert compiled(manifest, rules).digest == whole.digest
    assert compiled(manifest, IndexRules(long_audio="drop")).digest != whole.digest
    narrow = IndexRules(max_bad_fraction=0.5, roots=(str(folder / "a.wav"),))
    assert len(compiled(manifest, narrow)) == 5
    assert compiled(manifest, narrow).digest != whole.digest
