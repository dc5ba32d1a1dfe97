import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.common.errors import DataError
from audio_lm.sweep.table import METRICS, RATIOS, TRIALS, TrialTable

finite = st.floats(-1e9, 1e9)


@given(st.data())
def test_a_table_is_read_as_it_was_written(tmp_path_factory, data):
    tasks = tuple(
        data.draw(
            st.lists(
                st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1),
                min_size=1,
                max_size=4,
                unique=True,
            )
        )
    )
    runs = tuple(f"{number:03}" for number in range(data.draw(st.integers(1, 5))))
    weights = data.draw(
        st.lists(
            st.lists(st.floats(0.01, 1), min_size=len(tasks), max_size=len(tasks)),
            min_size=len(runs),
            max_size=len(runs),
        )
    )
    shares = np.array(weights) / np.sum(weights, axis=1, keepdims=True)
    values = data.draw(st.lists(finite | st.just(math.nan), min_size=len(runs), max_size=len(runs)))
    folder = tmp_path_factory.mktemp("table")
    TrialTable(runs, tasks, shares, {"val_loss/asr": np.array(values)}).write(folder)
    table = TrialTable.read(folder / RATIOS, folder / METRICS)
    assert (table.runs, table.tasks) == (runs, tasks)
    np.testing.assert_allclose(table.shares, shares, rtol=1e-12)
    np.testing.assert_array_equal(table.metrics["val_loss/asr"], values)


@pytest.mark.parametrize(
    ("ratios", "metrics", "words"),
    [
        ("", "run,a\n0,1\n", "no runs"),
        ("run,asr\n0,1\n", "run,a\n1,1\n", "'0' beside '1'"),
        ("run,asr\n0,1\n1,1\n", "run,a\n0,1\n", "2 and 1 lines"),
        ("run,asr,sec\n0,1\n", "run,a\n0,1\n", r"ratios\.csv:2: 2 columns"),
        ("run,asr,sec\n0,0,0\n", "run,a\n0,1\n", "not all 0"),
        ("run,asr,sec\n0,-1,2\n", "run,a\n0,1\n", "0 or more"),
        ("run,asr\n0,much\n", "run,a\n0,1\n", "expected numbers"),
    ],
)
def test_files_that_are_no_table_are_refused(tmp_path, ratios, metrics, words):
    (tmp_path / RATIOS).write_text(ratios)
    (tmp_path / METRICS).write_text(metrics)
    with pytest.raises(DataError, match=words):
        TrialTable.read(tmp_path / RATIOS, tmp_path / METRICS)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"ratios\.csv"):
        TrialTable.read(tmp_path / RATIOS, tmp_path / METRICS)


def test_purposes_and_seeds_are_in_a_third_file(tmp_path):
    table = TrialTable(
        ("000", "001"), ("a", "b"), np.full((2, 2), 0.5), {"m": np.zeros(2)}, ("recipe", "repeat"), (0, 7)
    )
    table.write(tmp_path)
    files = [tmp_path / name for name in (RATIOS, METRICS, TRIALS)]
    read = TrialTable.read(*files)
    assert (read.purposes, read.seeds) == (("recipe", "repeat"), (0, 7))
    assert TrialTable.read(*files[:2]).purposes == ()


@pytest.mark.parametrize(
    ("trials", "words"),
    [
        ("run,purpose,seed\n000,recipe,0\n", "1 lines"),
        ("run,seed\n000,0\n001,0\n", "columns"),
        ("run,purpose,seed\n000,recipe,0\n001,repeat,x\n", "whole number"),
    ],
)
def test_trials_that_do_not_fit_the_table_are_refused(tmp_path, trials, words):
    TrialTable(("000", "001"), ("a", "b"), np.full((2, 2), 0.5), {"m": np.zeros(2)}).write(tmp_path)
    (tmp_path / TRIALS).write_text(trials)
    with pytest.raises(DataError, match=words):
        TrialTable.read(*(tmp_path / name for name in (RATIOS, METRICS, TRIALS)))
