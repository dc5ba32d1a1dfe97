"""Rows of installed packages: found by their entry point, never in place of a row of ours."""

import sys
import types
from importlib.metadata import EntryPoint

import pytest

from audio_lm.common import extensions
from audio_lm.common.errors import RecipeError
from audio_lm.common.extensions import with_hint
from audio_lm.corpora.registry import find_corpus
from audio_lm.metrics.registry import METRICS, MetricRow, find_metric
from audio_lm.prompts.vocabulary import MARKUP_TOKENS
from audio_lm.tasks.registry import TASKS, find_task
from audio_lm.tasks.targets import any_label
from audio_lm.tasks.task import Task

OWN_TASK = Task(name="own_task", prompts=("What is it?",), needs=("kind",), target=any_label("kind"))
OWN_METRIC = MetricRow("own_metric", "own", True, "audio_lm.metrics.labels:Accuracy")


@pytest.fixture
def install(monkeypatch):
    """Function that installs a module with tables as the only extension."""

    def of(**tables):
        module = types.ModuleType("their_package")
        vars(module).update(tables)
        monkeypatch.setitem(sys.modules, "their_package", module)
        point = EntryPoint("theirs", "their_package", "audio_lm")
        monkeypatch.setattr(extensions, "entry_points", lambda group: [point] * (group == "audio_lm"))
        extensions.extensions.cache_clear()

    yield of
    extensions.extensions.cache_clear()


def test_rows_of_an_extension_are_found_by_name_like_ours(install):
    install(TASKS=(OWN_TASK,), METRICS=[OWN_METRIC])
    assert find_task("own_task") is OWN_TASK
    assert find_metric("own_metric") is OWN_METRIC
    assert OWN_METRIC.build().is_differentiable is False
    assert TASKS.package_of("own_task") == "theirs"
    assert TASKS.package_of("asr") is None
    assert "own_task" in TASKS
    assert (TASKS | {})["own_task"] is OWN_TASK
    assert len(METRICS) == len([*METRICS]) == len(METRICS.built_in) + 1


def test_the_tokens_of_a_model_do_not_depend_on_what_is_installed(install):
    install(TASKS=(OWN_TASK,))
    assert not set(OWN_TASK.extension_tokens) - set(MARKUP_TOKENS)


def test_a_row_of_ours_cannot_be_replaced(install):
    install(METRICS=(MetricRow("wer", "another", True, "x:Y"),))
    assert find_metric("wer").title == "word error rate", "ours needs no extension"
    with pytest.raises(RecipeError, match="metric 'wer' of theirs exists already in audio_lm"):
        find_metric("unknown")


def test_two_rows_with_one_name_and_other_objects_are_refused(install):
    install(TASKS=(OWN_TASK, OWN_TASK))
    with pytest.raises(RecipeError, match="exists already in theirs"):
        find_task("own_task")
    install(CORPORA=(OWN_TASK,))
    with pytest.raises(RecipeError, match="expected only Corpuss"):
        find_corpus("own")


def test_an_extension_that_cannot_be_imported_is_named(monkeypatch):
    point = EntryPoint("theirs", "no_such_module", "audio_lm")
    monkeypatch.setattr(extensions, "entry_points", lambda group: [point])
    extensions.extensions.cache_clear()
    with pytest.raises(
        RecipeError, match=r"entry point 'theirs' = 'no_such_module' .* cannot be imported \(ModuleNot"
    ):
        find_metric("unknown")
    assert find_metric("wer"), "rows of ours are found all the same"
    extensions.extensions.cache_clear()


def test_a_project_that_is_not_installed_is_hinted_at(tmp_path, monkeypatch, install):
    install()
    monkeypatch.chdir(tmp_path)
    assert with_hint("unknown.") == "unknown."
    (tmp_path / "pyproject.toml").write_text('[project.entry-points.audio_lm]\nmine = "mine"\n')
    assert "pip install -e ." in with_hint("unknown.")
    with pytest.raises(RecipeError, match="is not installed"):
        find_corpus("x")
    (tmp_path / "pyproject.toml").write_text('[project.entry-points.audio_lm]\ntheirs = "mine"\n')
    assert with_hint("unknown.") == "unknown.", "it is installed"
    (tmp_path / "pyproject.toml").write_text("[project\n")
    assert with_hint("unknown.") == "unknown."
