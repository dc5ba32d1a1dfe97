from pathlib import Path

import pytest

from audio_lm.common.errors import DataError
from audio_lm.evaluation.prediction_files.format import FileFormat, ReadOptions, check_predictions
from audio_lm.evaluation.prediction_files.records import Record


def test_a_format_is_matched_by_its_keys():
    one = FileFormat(
        "x", "X", frozenset({"a"}), lambda records, options: [], frozenset({"b", "c"}), frozenset({"d"})
    )
    assert one.matches(frozenset({"a", "c", "e"}))
    assert not any(one.matches(frozenset(keys)) for keys in ("a", "bc", "abd"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"a": 1}, "f: no row .* has 'p' -- expected the raw answer"),
        ({"p": None, "p_normalized": "x"}, "f: 'p_normalized' -- expected the raw answers, in 'p'"),
    ],
)
def test_files_without_raw_predictions_are_refused(fields, message):
    with pytest.raises(DataError, match=message):
        check_predictions(ReadOptions(Path("f")), [Record("f:1", fields)], "p")
    check_predictions(ReadOptions(Path("f")), [Record("f:1", fields), Record("f:2", {"p": ""})], "p")
