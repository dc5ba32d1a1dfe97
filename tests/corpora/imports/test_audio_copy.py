import tarfile

import pytest

from audio_lm.common.errors import DataError, UserError
from audio_lm.corpora.imports import audio_copy
from audio_lm.corpora.imports.audio_copy import AudioCopy, CopiedRow
from audio_lm.data.manifest.shar import open_source


def rows(count):
    return [
        CopiedRow(bytes([number]) * (number * 300), f"{number}.wav", {"n": number}) for number in range(count)
    ]


def fill(copy, found, error=None):
    with copy.locked():
        for row in found:
            copy.add(row)
            if copy.is_shard_full:
                copy.close_shard({"after": row.columns["n"]})
        if error is not None:
            raise error
        copy.complete({"after": "all"})


def test_audio_comes_back_byte_for_byte_and_the_tars_are_valid(tmp_path, monkeypatch):
    monkeypatch.setattr(audio_copy, "MAX_ROWS", 3)
    found = [*rows(7), CopiedRow("/there/a.wav", "a.wav", {"n": 7}), CopiedRow(None, "", {"n": 8})]
    fill(AudioCopy(tmp_path / "copy", "sound"), found)
    again = AudioCopy(tmp_path / "copy", "sound")
    assert again.is_complete
    back = list(again.rows())
    assert [row["n"] for row in back] == list(range(9))
    assert [open_source(str(row["sound"])).getvalue() for row in back[:7]] == [row.audio for row in found[:7]]
    assert [row["sound"] for row in back[7:]] == ["/there/a.wav", None]
    with tarfile.open(tmp_path / "copy" / "000001.tar") as tar:
        assert [(member.name, member.size) for member in tar] == [
            ("000000003.wav", 900),
            ("000000004.wav", 1_200),
            ("000000005.wav", 1_500),
        ]


def test_a_shard_is_full_by_its_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(audio_copy, "MAX_BYTES", 2_000)
    fill(AudioCopy(tmp_path / "copy", "audio"), rows(5))
    assert len([*tmp_path.glob("copy/*.tar")]) == 2


def test_rows_without_embedded_audio_need_no_tar(tmp_path):
    found = [CopiedRow(f"/there/{number}.wav", f"{number}.wav", {"n": number}) for number in range(3)]
    fill(AudioCopy(tmp_path / "copy", "audio"), found)
    assert [path.name for path in sorted(tmp_path.glob("copy/0*"))] == ["000000.jsonl"]
    assert [row["audio"] for row in AudioCopy(tmp_path / "copy", "audio").rows()] == [
        row.audio for row in found
    ]


def test_only_finished_shards_are_kept_and_others_are_written_again(tmp_path, monkeypatch):
    monkeypatch.setattr(audio_copy, "MAX_ROWS", 2)
    with pytest.raises(RuntimeError):
        fill(AudioCopy(tmp_path / "copy", "audio"), rows(3), RuntimeError())
    copy = AudioCopy(tmp_path / "copy", "audio")
    assert (copy.num_rows, copy.position, copy.is_complete) == (2, {"after": 1}, False)
    assert not [*tmp_path.glob("copy/*.part")]
    fill(copy, rows(5)[2:])
    fill(AudioCopy(tmp_path / "other", "audio"), rows(5))
    for path in tmp_path.glob("other/0*"):
        assert (tmp_path / "copy" / path.name).read_bytes() == path.read_bytes(), path.name


def test_an_import_that_finished_no_shard_leaves_no_folder(tmp_path):
    with pytest.raises(RuntimeError):
        fill(AudioCopy(tmp_path / "copy", "audio"), rows(1), RuntimeError())
    assert not (tmp_path / "copy").exists()


def test_a_damaged_copy_and_a_full_disk_are_one_sentence(tmp_path):
    fill(AudioCopy(tmp_path / "copy", "audio"), rows(2))
    (tmp_path / "copy" / "000000.jsonl").write_text('{"audio": [512')
    with pytest.raises(DataError, match=r"is damaged .*; delete"):
        list(AudioCopy(tmp_path / "copy", "audio").rows())
    with pytest.raises(UserError, match=r"No space left.*the same command continues"):
        fill(AudioCopy(tmp_path / "full", "audio"), rows(1), OSError(28, "No space left on device"))
