import pytest

from audio_lm.checkpoints.manifest import (
    FORMAT,
    CheckpointManifest,
    OtherFormatError,
    fault_of,
    read_manifest,
    write_manifest,
)
from audio_lm.common.errors import CheckpointError
from audio_lm.common.seals import FILE, FileSeal, seal_of


@pytest.fixture
def sealed(tmp_path):
    (tmp_path / "shard").write_bytes(b"values" * 100)
    manifest = CheckpointManifest(
        7, 2, {"stage": "chat", "val_loss": 0.1 + 0.2}, {"shard": seal_of(tmp_path / "shard")}
    )
    write_manifest(tmp_path, manifest)
    return tmp_path


def test_a_manifest_reads_back_equal(sealed):
    manifest = read_manifest(sealed)
    assert (manifest.step, manifest.world_size, manifest.format) == (7, 2, FORMAT)
    assert manifest.facts == {"stage": "chat", "val_loss": 0.1 + 0.2}
    assert manifest.num_bytes == 600
    assert fault_of(sealed, manifest, manifest.files) is None


def test_any_changed_byte_is_detected(sealed):
    whole = (sealed / FILE).read_text()
    for changed in (
        whole.replace('"step": 7', '"step": 8'),
        whole[:-20],
        whole.replace("chat", "talk"),
        "{}",
    ):
        (sealed / FILE).write_text(changed)
        with pytest.raises(CheckpointError, match=FILE):
            read_manifest(sealed)
    (sealed / FILE).unlink()
    with pytest.raises(CheckpointError, match="it has no MANIFEST"):
        read_manifest(sealed)


def test_sizes_are_always_checked_and_checksums_on_request(sealed):
    manifest = read_manifest(sealed)
    values = bytearray((sealed / "shard").read_bytes())
    values[50] ^= 1
    (sealed / "shard").write_bytes(values)
    assert fault_of(sealed, manifest) is None
    assert fault_of(sealed, manifest, manifest.files) == "shard has another checksum than was written"
    (sealed / "shard").write_bytes(values[:-1])
    assert fault_of(sealed, manifest) == "shard has 599 bytes and not 600"
    (sealed / "shard").unlink()
    assert fault_of(sealed, manifest) == "shard is missing"


def test_another_format_is_refused_with_its_number(tmp_path):
    write_manifest(tmp_path, CheckpointManifest(1, 1, {}, {}, format=FORMAT + 1))
    with pytest.raises(
        OtherFormatError, match=f"format {FORMAT + 1}, and this program reads format {FORMAT}"
    ):
        read_manifest(tmp_path)


@pytest.mark.parametrize("name", ["../stolen", "/etc/passwd", "a/b", ".."])
def test_files_outside_the_folder_are_refused(tmp_path, name):
    write_manifest(tmp_path, CheckpointManifest(1, 1, {}, {name: FileSeal(1, 1)}))
    with pytest.raises(CheckpointError, match="no file of this folder"):
        read_manifest(tmp_path)
