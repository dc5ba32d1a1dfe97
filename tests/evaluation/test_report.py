import io
import math

from rich.console import Console

from audio_lm.evaluation.report import Row, print_table, rows_as_records


def printed(rows):
    console = Console(record=True, width=160, file=io.StringIO())
    print_table(rows, console)
    return console.export_text()


def test_only_filled_columns_are_shown():
    bare = printed([Row("pretrain", "digits", "asr", "wer", 0.05)])
    assert "0.050" in bare
    assert "untrained" not in bare
    assert "published" not in bare
    full = printed([Row("pretrain", "digits", "asr", "wer", 0.05, untrained=1.0, expected=0.02)])
    assert all(words in full for words in ("untrained", "1.000", "published", "0.020", "word error rate ↓"))


def test_units_and_infinity_are_worded():
    said = printed([Row("pretrain", "stamps", "srwt-en", "aas", 51.53, untrained=math.inf)])
    assert "51.5 ms" in said
    assert "none matched" in said


def test_rows_are_plain_for_other_programs():
    (record,) = rows_as_records([Row("pretrain", "digits", "asr", "wer", 0.05)])
    assert record["ours"] == 0.05
