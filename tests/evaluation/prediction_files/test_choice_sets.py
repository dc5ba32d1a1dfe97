from pathlib import Path

import pytest

from audio_lm.common.errors import DataError
from audio_lm.evaluation.prediction_files.choice_sets import read_airbench, read_mmau, read_mmau_pro
from audio_lm.evaluation.prediction_files.format import ReadOptions
from audio_lm.evaluation.prediction_files.records import Record

OPTIONS = ReadOptions(Path("f"))
MMAU = {"id": "a", "choices": ["x", "y"], "answer": "x", "model_output": "x"}


def test_mmau_is_grouped_by_split_and_empty_answers_are_withheld():
    rows = [Record("f:1", MMAU | {"split": "test"}), Record("f:2", MMAU | {"id": "b", "answer": ""})]
    test, rest = read_mmau(rows, OPTIONS)
    assert (test.name, rest.name) == ("test", "all")
    assert rest.rows[0].references == ()


def test_mmau_pro_without_closed_questions_is_refused():
    row = Record("f:1", {"id": "a", "category": "open", "choices": None, "model_output": "x"})
    with pytest.raises(DataError, match="no row has choices"):
        read_mmau_pro([row], OPTIONS)


def test_airbench_questions_may_have_two_choices():
    fields = {
        "choice_a": "x",
        "choice_b": "y",
        "choice_c": None,
        "answer_gt": "y",
        "response": "B",
        "task_name": "t",
    }
    (benchmark,) = read_airbench([Record("f:1", fields)], OPTIONS)
    assert (benchmark.name, benchmark.rows[0].choices) == ("t", ("x", "y"))
