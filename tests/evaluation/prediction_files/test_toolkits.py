from pathlib import Path

import pytest

from audio_lm.common.errors import DataError
from audio_lm.evaluation.prediction_files.format import ReadOptions
from audio_lm.evaluation.prediction_files.records import Record
from audio_lm.evaluation.prediction_files.toolkits import read_lmms_eval, read_ultraeval

OPTIONS = ReadOptions(Path("f"))
SAMPLE = {"doc_id": 0, "target": "b", "input": "Q\nA. a\nB. b", "accuracy": {"overall": 1.0, "task": "t"}}


def lmms(**fields):
    return read_lmms_eval([Record("f:1", SAMPLE | fields)], OPTIONS)


def test_responses_may_be_lists_of_one():
    (benchmark,) = lmms(filtered_resps=[["B"]])
    (row,) = benchmark.rows
    assert (row.answer, row.choices, row.recorded) == ("B", ("a", "b"), 1.0)


def test_likelihoods_and_unknown_tasks_are_refused():
    with pytest.raises(DataError, match="'filtered_resps' is no text"):
        lmms(filtered_resps=[[-3.2, True]])
    with pytest.raises(DataError, match=r"results \['accuracy', 'gpt_eval'\] -- expected MMAU, MMAR"):
        lmms(filtered_resps="B", accuracy=1.0, gpt_eval={})


def ultraeval(*lines):
    records = [
        Record(f"f:{n}", dict(zip(("type", "id", "data"), line, strict=True)))
        for n, line in enumerate(lines, 1)
    ]
    return read_ultraeval(records, OPTIONS)


def test_raw_outputs_are_those_before_the_evaluator():
    (benchmark,) = ultraeval(
        ("inference", 0, {"content": "Answer: B."}),
        ("post_process", 0, {"content": "B."}),
        ("eval", 0, {"match": 0, "pred": "b", "ref": "B"}),
    )
    assert benchmark.rows[0].answer == "B."
    assert benchmark.rows[0].recorded == 0.0


def test_two_runs_in_one_file_and_unknown_results_are_refused():
    line = ("eval", 0, {"match": 1, "ref": "a"})
    with pytest.raises(DataError, match="f:2: a second 'eval' of id '0'"):
        ultraeval(line, line)
    with pytest.raises(DataError, match=r"results with the keys \['ref', 'utmos'\]"):
        ultraeval(("eval", 0, {"ref": "a", "utmos": 3}))
