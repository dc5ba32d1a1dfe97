"""A starter folder is written whole, is valid, and shadows nothing."""

import tomllib

import pytest
import yaml

from audio_lm.cli.new import FILES, starter_files
from audio_lm.common.errors import UserError
from tests.run.command import run


def test_a_project_is_written_with_its_name_in_every_place(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("new", "sea-birds") == 0
    folder = tmp_path / "sea-birds"
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert len(written) == len(FILES)
    assert {"sea_birds/corpus.py", "recipes/sea-birds.yaml", "conf/task/sea_birds_height.yaml"} <= written
    assert "next: cd sea-birds && pip install -e . && audio-lm train sea-birds" in capsys.readouterr().out


def test_its_files_are_valid_and_its_readme_is_short():
    files = starter_files("sea-birds")
    assert not [path for path, text in files.items() if "{{" in text or "}}" in text]
    project = tomllib.loads(files["pyproject.toml"])
    assert project["project"]["entry-points"]["audio_lm"] == {"sea_birds": "sea_birds"}
    for path, text in files.items():
        if path.endswith(".yaml"):
            assert yaml.safe_load(text), path
        if path.endswith(".py"):
            compile(text, path, "exec")
    assert len(files["README.md"].splitlines()) <= 10


def test_nothing_is_written_in_a_dry_run_or_over_a_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("new", "birds", "--dry-run") == 0
    assert "would write birds/recipes/birds.yaml" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    (tmp_path / "birds").mkdir()
    (tmp_path / "birds" / "own.txt").write_text("mine")
    assert run("new", "birds") == 2
    assert "expected a new or an empty folder" in capsys.readouterr().err
    assert run("new", "birds", "--out", "others") == 0


@pytest.mark.parametrize("name", ["Birds", "../birds", "1birds", "sea birds", ""])
def test_a_name_that_is_no_package_is_refused(name):
    with pytest.raises(UserError, match="a letter first"):
        starter_files(name)


@pytest.mark.parametrize("name", ["torch", "audio-lm", "json"])
def test_a_name_that_would_hide_a_module_is_refused(name):
    with pytest.raises(UserError, match="which this one would hide"):
        starter_files(name)
