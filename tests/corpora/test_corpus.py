from dataclasses import replace
from pathlib import Path

import pytest

from audio_lm.corpora import registry
from audio_lm.corpora.corpus import prepare
from audio_lm.corpora.fsdd import FsddSettings, read_settings
from audio_lm.errors import RecipeError, UserError


@pytest.fixture
def written(monkeypatch):
    """Makes ``fsdd`` a corpus of one file, and counts how often it is written."""
    times = []

    def write(folder: Path, final_folder: Path, settings: FsddSettings, report) -> None:
        times.append(settings)
        (folder / "x-train.jsonl").write_text(f"{final_folder} {settings.seed}")
        if settings.strings == 13:
            raise KeyboardInterrupt

    corpus = replace(registry.CORPORA["fsdd"], write=write, read_settings=read_settings)
    monkeypatch.setitem(registry.CORPORA, "fsdd", corpus)
    return times


def ignore(line: str) -> None:
    assert line


def test_the_same_settings_are_prepared_once(tmp_path, written):
    for _ in range(2):
        folder = prepare("fsdd", tmp_path, {"seed": 1}, ignore)
    assert folder == tmp_path / "fsdd"
    assert (folder / "x-train.jsonl").read_text() == f"{folder} 1"
    assert len(written) == 1


def test_other_settings_replace_what_was_there(tmp_path, written):
    prepare("fsdd", tmp_path, {"seed": 1}, ignore)
    folder = prepare("fsdd", tmp_path, {"seed": 2}, ignore)
    assert (folder / "x-train.jsonl").read_text().endswith(" 2")
    assert [path.name for path in tmp_path.iterdir()] == ["fsdd"]


def test_a_folder_that_was_moved_is_made_anew(tmp_path, written):
    prepare("fsdd", tmp_path / "here", {}, ignore)
    (tmp_path / "here").rename(tmp_path / "there")
    folder = prepare("fsdd", tmp_path / "there", {}, ignore)
    assert (folder / "x-train.jsonl").read_text().startswith(str(tmp_path / "there"))


def test_an_interrupted_corpus_leaves_nothing(tmp_path, written):
    with pytest.raises(KeyboardInterrupt):
        prepare("fsdd", tmp_path, {"strings": 13}, ignore)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_corpus_leaves_the_old_one(tmp_path, written):
    folder = prepare("fsdd", tmp_path, {"seed": 1}, ignore)
    with pytest.raises(KeyboardInterrupt):
        prepare("fsdd", tmp_path, {"strings": 13}, ignore)
    assert (folder / "x-train.jsonl").read_text().endswith(" 1")
    assert [path.name for path in tmp_path.iterdir()] == ["fsdd"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path, written):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="set data_dir"):
        prepare("fsdd", tmp_path / "file" / "data", {}, ignore)


def test_a_wrong_setting_stops_before_anything_is_made(tmp_path, written):
    with pytest.raises(RecipeError, match="'sed'"):
        prepare("fsdd", tmp_path, {"sed": 1}, ignore)
    assert list(tmp_path.iterdir()) == []
