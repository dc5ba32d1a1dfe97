import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.common.errors import DataError
from audio_lm.sweep.table import METRICS, RATIOS, TrialTable

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
