import gzip
import io
import json
import os
import shutil
import tarfile
from itertools import islice

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, MonoCut, Recording

from audio_lm.common.errors import DataError
from audio_lm.data.audio.faults import FaultyAudioError, load_waves_or_fault
from audio_lm.data.collate import Collator
from audio_lm.data.datamodule import MixtureDataModule, PackDataset, PackSampler
from audio_lm.data.examples import ExampleMaker
from audio_lm.data.lengths import cached_token_lengths
from audio_lm.data.manifest.cuts import check_files, cut_set_path, has_cut_set, load_waves, read_cuts
from audio_lm.data.manifest.index import IndexRules, compile_source
from audio_lm.data.manifest.lazy_cuts import LoadedSource, Rows
from audio_lm.data.manifest.shar import ByteRange, is_shar
from audio_lm.data.mixture.packing import PackingRules
from audio_lm.data.mixture.schedule import Cursor, PackSchedule, Segment

NUM_CUTS, SHARD = 12, 5
PLAIN, SHAR = "plain/noise-train", "shar/noise-train"


@pytest.fixture
def data(tmp_path, make_cuts):
    """Folder with the same cuts twice: with FLAC files, and as Shar with FLAC in tars."""
    cuts = []
    for number, made in enumerate(make_cuts(NUM_CUTS)):
        path = tmp_path / f"{number}.flac"
        soundfile.write(path, load_waves(made)[0], 16_000)
        recording = Recording.from_file(path)
        supervision = made.supervisions[0]
        cuts.append(
            MonoCut(f"c/{number}.x", 0.0, made.duration, 0, recording=recording, supervisions=[supervision])
        )
    (tmp_path / "data" / SHAR).mkdir(parents=True)
    (tmp_path / "data" / "plain").mkdir()
    CutSet.from_cuts(cuts).to_file(tmp_path / "data" / f"{PLAIN}.jsonl")
    CutSet.from_cuts(cuts).to_shar(
        tmp_path / "data" / SHAR, fields={"recording": "flac"}, shard_size=SHARD, verbose=False
    )
    return tmp_path / "data"


def compiled(data, source=SHAR, **rules):
    return compile_source(
        cut_set_path(data, source), source, IndexRules(**rules), cache=data.parent / "cache"
    )


def packs_from(data, source, vocabulary, *, num_workers=0):
    """Ids, tokens and waves of the first packs of a stage with one cut-set."""
    maker, cache, rows = (
        ExampleMaker(vocabulary, "natural"),
        data.parent / "cache",
        Rows(compiled(data, source)),
    )
    lengths = cached_token_lengths(rows, maker, "asr", cache=cache)
    rules, segment = PackingRules(2, max_tokens=200), Segment(0, (1,), (0,))
    schedule = PackSchedule(["asr"], [len(rows)], [lengths], [segment], rules, window=40, seed=0)
    packs = PackDataset([LoadedSource("asr", source, rows)], maker, Collator(load=load_waves_or_fault))
    module = MixtureDataModule(
        PackSampler(schedule, Cursor()),
        packs,
        validation={},
        validation_maker=maker,
        max_tokens=200,
        num_workers=num_workers,
    )
    return [
        (pack.cut_ids, pack.token_ids.tolist(), pack.waves.numpy().tobytes(), pack.faults)
        for packs in islice(module.train_dataloader(), 4)
        for pack in packs
    ]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_same_cuts_have_the_same_order_and_the_same_waves(data, vocabulary, num_workers):
    plain = packs_from(data, PLAIN, vocabulary)
    assert packs_from(data, SHAR, vocabulary, num_workers=num_workers) == plain
    assert not any(faults for *_, faults in plain)


def test_exchanged_audio_changes_the_waves(data, vocabulary):
    plain = packs_from(data, PLAIN, vocabulary)

    def exchanged(members):
        contents = [content for _, content in members]
        contents[0], contents[6] = contents[6], contents[0]  # of c/5.x and c/8.x, of equal lengths
        return [(name, content) for (name, _), content in zip(members, contents, strict=True)]

    repacked(data / SHAR / "recording.000001.tar", exchanged)
    found = packs_from(data, SHAR, vocabulary)
    assert [pack[:2] for pack in found] == [pack[:2] for pack in plain]
    assert [pack[2] for pack in found] != [pack[2] for pack in plain]


def test_rows_of_shar_equal_the_cuts_that_lhotse_reads(data):
    rows = Rows(compiled(data))
    theirs = list(CutSet.from_shar(in_dir=data / SHAR))
    assert len(rows) == len(theirs) == len(read_cuts(data, SHAR)) == NUM_CUTS
    for row, (cut, ours) in enumerate(zip(theirs, read_cuts(data, SHAR), strict=True)):
        assert rows.cut(row).to_dict() == ours.to_dict()
        assert rows.cut(row).id == cut.id
        assert rows.cut(row).supervisions == cut.supervisions
        np.testing.assert_array_equal(load_waves(rows.cut(row))[0], cut.load_audio()[0])
    check_files(read_cuts(data, SHAR))


def test_an_index_of_shar_is_compiled_once_and_again_when_a_tar_changes(data):
    one = compiled(data)
    made = one.manifest.stat().st_mtime_ns
    assert compiled(data).manifest.stat().st_mtime_ns == made
    tar = data / SHAR / "recording.000000.tar"
    repacked(
        tar, lambda members: [(name, content + b"\0" * (name.endswith("flac"))) for name, content in members]
    )
    other = compiled(data)
    assert other.manifest != one.manifest
    assert other.digest == one.digest  # of the lines: the order stays the same
    assert len(load_waves(Rows(other).cut(4))[0])
    shutil.move(data / SHAR, data / "shar" / "moved-train")
    moved = compiled(data, "shar/moved-train")
    assert len(load_waves(Rows(moved).cut(4))[0])


def repacked(tar, change):
    """Write a tar again with other members."""
    with tarfile.open(tar) as file:
        members = [(member.name, file.extractfile(member).read()) for member in file]
    with tarfile.open(tar, "w") as file:
        for name, content in change(members):
            member = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
                file.addfile(member, io.BytesIO(content))
            else:
                member.type, member.linkname = content
                file.addfile(member)


def cut_off(tar):
    os.truncate(tar, 20_000)


def emptied(tar):
    os.truncate(tar, 0)


def zipped(tar):
    tar.with_suffix(".tar.gz").write_bytes(gzip.compress(tar.read_bytes()))
    tar.unlink()


def lines_cut_off(tar):
    cuts = tar.with_name("cuts.000001.jsonl.gz")
    cuts.write_bytes(cuts.read_bytes()[:-20])


def another_header(tar):
    """Damage the header of the third cut; tarfile takes it for the end of the archive."""
    with tarfile.open(tar) as file:
        third = file.getmembers()[4].offset
    with tar.open("r+b") as file:
        file.seek(third)
        file.write(b"\xff" * 200)


def negative(tar):
    """Write a negative size, which would send a naive reader backwards."""
    with tarfile.open(tar) as file:
        at = file.getmembers()[2].offset
    header = bytearray(tar.read_bytes()[at : at + 512])
    header[124:136] = b"\xff" * 11 + b"\x00"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    with tar.open("r+b") as file:
        file.seek(at)
        file.write(header)


def dangling(tar):
    tar.unlink()
    tar.symlink_to("nowhere.tar")


LINK = (tarfile.SYMTYPE, "/etc/passwd")
BROKEN = {
    "cut off": (cut_off, r"recording\.000001\.tar is truncated in member 'c/5\.x\.flac'; copy"),
    "empty": (emptied, r"recording\.000001\.tar cannot be read \(empty file\)"),
    "a damaged header": (
        another_header,
        r"000001\.tar ends before the audio of cut 'c/7\.x' \(cuts\.000001\.jsonl\.gz:3\)",
    ),
    "a negative size": (negative, r"recording\.000001\.tar is truncated in member"),
    "a link to nothing": (dangling, r"recording\.000001\.tar is not a file"),
    "gone": (lambda tar: tar.unlink(), r"cuts\.000001\.jsonl\.gz: recording\.000001\.tar is missing"),
    "no lines": (
        lambda tar: tar.with_name("cuts.000001.jsonl.gz").unlink(),
        r"recording\.000001\.tar: cuts\.000001\.jsonl\.gz is missing",
    ),
    "compressed": (zipped, r"recording\.000001\.tar\.gz is compressed"),
    "lines cut off": (lines_cut_off, r"cuts\.000001\.jsonl\.gz cannot be read to its end"),
    "a missing pair": (
        lambda tar: repacked(tar, lambda members: members[:2] + members[4:]),
        r"member 'c/7\.x\.flac' -- expected the audio of cut 'c/6\.x' \(cuts\.000001\.jsonl\.gz:2\)",
    ),
    "a missing manifest": (
        lambda tar: repacked(tar, lambda members: members[:3] + members[4:]),
        r"no manifest follows member 'c/6\.x\.flac'",
    ),
    "fewer": (
        lambda tar: repacked(tar, lambda members: members[:-2]),
        r"000001\.tar ends before the audio of cut 'c/9\.x' \(cuts\.000001\.jsonl\.gz:5\)",
    ),
    "more": (
        lambda tar: repacked(tar, lambda members: [*members, ("d.flac", b"1"), ("d.json", members[1][1])]),
        r"member 'd\.flac' follows the audio of all 5 lines of cuts\.000001",
    ),
    "a link": (
        lambda tar: repacked(tar, lambda members: [(members[0][0], LINK), *members[1:]]),
        r"member 'c/5\.x\.flac' is not a regular file",
    ),
    "another manifest": (
        lambda tar: repacked(tar, lambda members: [members[0], (members[1][0], b"[]"), *members[2:]]),
        r"member 'c/5\.x\.json' is not the manifest of a recording",
    ),
    "second clips": (
        lambda tar: tar.with_name("audio_2.000001.tar").write_bytes(tar.read_bytes()),
        r"audio_2\.000001\.tar: Lhotse cuts audio_2 to the length of the first clip",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_damage_is_named_in_one_sentence(data, kind):
    damage, sentence = BROKEN[kind]
    damage(data / SHAR / "recording.000001.tar")
    with pytest.raises(DataError, match=sentence) as caught:
        compiled(data)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=sentence):
        read_cuts(data, SHAR)
    cache = data.parent / "cache" / SHAR
    assert not cache.exists() or not list(cache.iterdir())


def test_a_member_with_a_path_outside_its_folder_is_not_extracted(data):
    def away(members):
        return [(name.replace("c/5.x", "../../../c5"), content) for name, content in members]

    repacked(data / SHAR / "recording.000001.tar", away)
    cuts = data / SHAR / "cuts.000001.jsonl.gz"
    cuts.write_bytes(gzip.compress(gzip.decompress(cuts.read_bytes()).replace(b"c/5.x", b"../../../c5")))
    before = sorted(data.parent.rglob("*"))
    assert len(load_waves(Rows(compiled(data)).cut(5))) == 1
    made = set(data.parent.rglob("*")) - set(before)
    assert {path.relative_to(data.parent).parts[0] for path in made} == {"cache"}


def test_invalid_lines_of_shar_are_named_with_their_file(data):
    cuts = data / SHAR / "cuts.000001.jsonl.gz"
    lines = gzip.decompress(cuts.read_bytes()).splitlines()
    lines[1] = lines[1].replace(b'"duration": ', b'"duration": -', 1)
    lines[2] = b"{"
    cuts.write_bytes(gzip.compress(b"\n".join(lines)))
    index = compiled(data, max_bad_fraction=0.5)
    assert len(index) == NUM_CUTS - 2
    assert [(invalid.file, invalid.line, invalid.cut_id) for invalid in index.left_out] == [
        ("cuts.000001.jsonl.gz", 2, "c/6.x"),
        ("cuts.000001.jsonl.gz", 3, "?"),
    ]
    assert Rows(index).cut(6).id == "c/8.x"
    with pytest.raises(
        DataError, match=r"2 of 12 lines.*\n.*noise-train/cuts\.000001\.jsonl\.gz:2: cut 'c/6\.x'"
    ):
        compiled(data)


def test_tars_outside_the_allowed_folders_are_left_out(data, tmp_path):
    assert compiled(data, roots=(str(data),)).left_out == ()
    tar = data / SHAR / "recording.000001.tar"
    shutil.move(tar, tmp_path / "elsewhere.tar")
    tar.symlink_to(tmp_path / "elsewhere.tar")
    index = compiled(data, roots=(str(data),), max_bad_fraction=0.5)
    assert [invalid.line for invalid in index.left_out] == [1, 2, 3, 4, 5]
    assert "lies outside" in index.left_out[0].reason


def test_lines_without_tars_keep_their_own_files(data):
    for tar in (data / SHAR).glob("*.tar"):
        tar.unlink()
    with pytest.raises(
        DataError, match=r"no usable cut.*\n.*its audio is not in a recording\.\*\.tar of its folder"
    ):
        compiled(data, max_bad_fraction=1.0)
    lines = (data / f"{PLAIN}.jsonl").read_bytes()
    for cuts in (data / SHAR).iterdir():
        cuts.unlink()
    (data / SHAR / "cuts.jsonl").write_bytes(lines)
    assert len(load_waves(Rows(compiled(data)).cut(3))) == 1


def test_a_cut_set_that_exists_twice_is_refused(data):
    assert has_cut_set(data, SHAR)
    assert is_shar(data / SHAR)
    assert not is_shar(data / "shar")
    shutil.copy(data / f"{PLAIN}.jsonl", data / f"{SHAR}.jsonl")
    with pytest.raises(DataError, match=r"'shar/noise-train' exists twice, as .*; remove one"):
        compiled(data)


def overwritten(tar, byte_range):
    with tar.open("r+b") as file:
        file.seek(byte_range.start)
        file.write(bytes(range(256)) * (byte_range.num_bytes // 256))


def quiet(tar, byte_range):
    """Overwrite the start of the clip with a FLAC of zeros."""
    found = soundfile.info(byte_range.read())
    file = io.BytesIO()
    soundfile.write(file, np.zeros(found.frames), found.samplerate, format="FLAC")
    with tar.open("r+b") as to:
        to.seek(byte_range.start)
        to.write(file.getvalue())


FAULTS = {
    "other bytes": (overwritten, "decode"),
    "tar cut off": (
        lambda tar, byte_range: os.truncate(tar, byte_range.start + byte_range.num_bytes // 3),
        "decode",
    ),
    "tar cut off before": (lambda tar, byte_range: os.truncate(tar, byte_range.start), "decode"),
    "tar gone": (lambda tar, byte_range: tar.unlink(), "missing"),
    "silence": (quiet, "silent"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_audio_that_breaks_during_a_run_is_classified(data, kind):
    cut = Rows(compiled(data)).cut(7)
    byte_range = ByteRange.of(cut.recording.sources[0].source)
    assert load_waves_or_fault(cut)
    damage, reason = FAULTS[kind]
    damage(byte_range.tar, byte_range)
    with pytest.raises(FaultyAudioError, match=r"c/7\.x|sample is zero") as caught:
        load_waves_or_fault(cut)
    assert caught.value.reason == reason


def test_damaged_audio_in_a_tar_keeps_its_row_and_is_named(data):
    byte_range = ByteRange.of(Rows(compiled(data)).cut(7).recording.sources[0].source)
    overwritten(byte_range.tar, byte_range)
    index = compiled(data, max_bad_fraction=0.5)
    assert len(index) == NUM_CUTS
    assert [(invalid.file, invalid.line, invalid.cut_id) for invalid in index.unreadable] == [
        ("cuts.000001.jsonl.gz", 3, "c/7.x")
    ]
    assert f"{byte_range} cannot be decoded" in index.unreadable[0].reason
    with pytest.raises(DataError, match=r"1 of 12 audio files"):
        compiled(data)


def test_cuts_without_audio_have_none(data):
    def silent(members):
        return [("c/5.x.nodata", b""), ("c/5.x.nometa", b""), *members[2:]]

    repacked(data / SHAR / "recording.000001.tar", silent)
    cuts = data / SHAR / "cuts.000001.jsonl.gz"
    first, *others = gzip.decompress(cuts.read_bytes()).splitlines()
    text_only = {key: value for key, value in json.loads(first).items() if key != "recording"}
    cuts.write_bytes(gzip.compress(b"\n".join([json.dumps(text_only).encode(), *others])))
    assert load_waves(Rows(compiled(data)).cut(5)) == []
