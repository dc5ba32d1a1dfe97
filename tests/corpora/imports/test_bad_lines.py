import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.imports.bad_lines import MAX_LINES_SHOWN, BadLines, EmptyRowError, LineFaultsError


def lines(tmp_path, count, num_allowed=0):
    bad = BadLines(num_allowed)
    for number in range(1, count + 1):
        with bad.collect(tmp_path / "rows.csv", number):
            raise DataError(f"no good {number}")
    return bad


def test_one_bad_line_raises_one_sentence_and_none_raises_nothing(tmp_path):
    lines(tmp_path, 0).raise_errors()
    with pytest.raises(DataError, match=r"rows\.csv:1: no good 1$"):
        lines(tmp_path, 1).raise_errors()
    with pytest.raises(ValueError, match="ours"), BadLines().collect(tmp_path, 4):
        raise ValueError("ours")


def test_the_limit_decides_and_the_first_lines_are_named(tmp_path):
    allowed = lines(tmp_path, 30, num_allowed=30)
    allowed.raise_errors()
    (note,) = allowed.notes()
    assert note.startswith("30 bad lines were left out:\n")
    assert f"rows.csv:{MAX_LINES_SHOWN}:" in note
    assert f"rows.csv:{MAX_LINES_SHOWN + 1}:" not in note
    assert note.endswith("and 10 more")
    with pytest.raises(
        DataError, match=r"30 lines cannot be imported, and --skip-bad is 29; .*--skip-bad 30"
    ):
        lines(tmp_path, 30, num_allowed=29).raise_errors()


def test_rows_without_a_label_are_counted_and_no_error(tmp_path):
    bad = BadLines()
    for line in (3, 4):
        with bad.collect(tmp_path, line):
            raise EmptyRowError("no text")
    bad.raise_errors()
    assert bad.notes() == [f"2 rows have no label and were left out, such as {tmp_path}:3: no text"]


def test_all_faults_of_all_lines_are_shown_and_lines_are_counted(tmp_path):
    bad = BadLines()
    bad.max_shown = None
    for line in range(1, 41):
        with bad.collect(tmp_path / "rows.jsonl", line):
            raise LineFaultsError(["turn 1: no", "turn 2: no"])
    with pytest.raises(DataError, match=r"^40 lines cannot be imported") as raised:
        bad.raise_errors()
    shown = str(raised.value).splitlines()[1:]
    assert len(shown) == 80
    assert shown[-1].endswith("rows.jsonl:40: turn 2: no")
