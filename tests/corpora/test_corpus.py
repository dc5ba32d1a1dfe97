import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from audio_lm.common.errors import RecipeError, UserError
from audio_lm.corpora import registry
from audio_lm.corpora.corpus import prepare
from audio_lm.corpora.fsdd import FsddSettings, read_settings


@pytest.fixture
def preparations(monkeypatch):
    """Replace ``fsdd`` by a corpus of one file; returns the settings of each preparation."""
    settings_of_each = []

    def write(folder: Path, final_folder: Path, settings: FsddSettings, report) -> None:
        settings_of_each.append(settings)
        (folder / "x-train.jsonl").write_text(f"{final_folder} {settings.seed}")
        if settings.strings == 13:
            raise KeyboardInterrupt

    corpus = replace(registry.CORPORA["fsdd"], write=write, read_settings=read_settings)
    monkeypatch.setitem(registry.CORPORA.built_in, "fsdd", corpus)
    return settings_of_each


def ignore(line: str) -> None:
    assert line


def test_equal_settings_are_prepared_once(tmp_path, preparations):
    for _ in range(2):
        folder = prepare("fsdd", tmp_path, {"seed": 1}, ignore)
    assert folder == tmp_path / "fsdd"
    assert (folder / "x-train.jsonl").read_text() == f"{folder} 1"
    assert len(preparations) == 1


def test_other_settings_replace_the_prepared_corpus(tmp_path, preparations):
    prepare("fsdd", tmp_path, {"seed": 1}, ignore)
    folder = prepare("fsdd", tmp_path, {"seed": 2}, ignore)
    assert (folder / "x-train.jsonl").read_text().endswith(" 2")
    assert [path.name for path in tmp_path.iterdir()] == ["fsdd"]


def test_a_moved_folder_is_prepared_again(tmp_path, preparations):
    prepare("fsdd", tmp_path / "here", {}, ignore)
    (tmp_path / "here").rename(tmp_path / "there")
    folder = prepare("fsdd", tmp_path / "there", {}, ignore)
    assert (folder / "x-train.jsonl").read_text().startswith(str(tmp_path / "there"))


def test_an_interrupted_preparation_leaves_no_files(tmp_path, preparations):
    with pytest.raises(KeyboardInterrupt):
        prepare("fsdd", tmp_path, {"strings": 13}, ignore)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_preparation_keeps_the_old_corpus(tmp_path, preparations):
    folder = prepare("fsdd", tmp_path, {"seed": 1}, ignore)
    with pytest.raises(KeyboardInterrupt):
        prepare("fsdd", tmp_path, {"strings": 13}, ignore)
    assert (folder / "x-train.jsonl").read_text().endswith(" 1")
    assert [path.name for path in tmp_path.iterdir()] == ["fsdd"]


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path, preparations):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="set data_dir"):
        prepare("fsdd", tmp_path / "file" / "data", {}, ignore)


def test_a_wrong_setting_is_an_error_before_anything_is_written(tmp_path, preparations):
    with pytest.raises(RecipeError, match="'sed'"):
        prepare("fsdd", tmp_path, {"sed": 1}, ignore)
    assert list(tmp_path.iterdir()) == []


def _prepare_and_get_killed(data_dir):
    corpus = registry.CORPORA["fsdd"]

    def write(folder, final_folder, settings, report):
        (folder / "x-train.jsonl").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)

    registry.CORPORA.built_in["fsdd"] = replace(corpus, write=write)
    prepare("fsdd", data_dir, {}, ignore)


def test_files_of_a_killed_preparation_are_removed_by_the_next(tmp_path, preparations):
    process = multiprocessing.get_context("fork").Process(target=_prepare_and_get_killed, args=(tmp_path,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2, "its partial folder and its lock"
    prepare("fsdd", tmp_path, {}, ignore)
    assert [path.name for path in tmp_path.iterdir()] == ["fsdd"]


@pytest.mark.parametrize("content", ["", '{"digest"', "[]"])
def test_a_corpus_with_an_invalid_prepared_file_is_prepared_again(tmp_path, preparations, content):
    folder = prepare("fsdd", tmp_path, {}, ignore)
    (folder / "prepared.json").write_text(content)
    prepare("fsdd", tmp_path, {}, ignore)
    assert len(preparations) == 2
