import shutil

import pytest

from audio_lm.common.errors import UserError
from audio_lm.export.hugging_face import check_free
from audio_lm.export.run import ExportSettings, bytes_of, export_run
from audio_lm.model.weights.files import INDEX, read_weights
from tests.run.command import run


@pytest.mark.parametrize("size", ["", "5", "big", "0GB", "-1GB", "1KB", "5GiB", "1e9"])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(UserError, match="write it as 5GB or 500MB"):
        bytes_of(size)


def test_options_of_the_command_line(whole_run, tmp_path, capsys):
    folder = tmp_path / "folder"
    assert run("export", whole_run.path, folder, "--dtype", "bfloat16", "--shard-size", "1MB") == 0
    assert (folder / INDEX).is_file() == (
        sum(path.stat().st_size for path in folder.glob("*.safetensors")) > 10**6
    )
    assert run("export", whole_run.path, folder) == 2
    assert "replace an export with --overwrite" in capsys.readouterr().err
    assert run("export", whole_run.path, folder, "--overwrite") == 0
    assert next(iter(read_weights(folder).values())).dtype.itemsize == 4
    assert not [path for path in tmp_path.iterdir() if path != folder], "leftovers"


def test_a_folder_with_other_files_is_never_replaced(whole_run, tmp_path):
    folder = tmp_path / "folder"
    export_run(whole_run.path, folder, report=lambda line: None)
    check_free(folder, overwrite=True)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"has 'notes.txt', which no export wrote"):
        export_run(whole_run.path, folder, ExportSettings(overwrite=True))
    assert (folder / "notes.txt").read_text() == "mine"
    with pytest.raises(UserError, match="not empty"):
        check_free(folder / "notes.txt", overwrite=True)


def test_a_full_disk_is_found_before_anything_is_written(whole_run, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(UserError, match=r"the export needs .* GB free; choose another disk"):
        export_run(whole_run.path, tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []
