import io
import json
import math

import pytest
from rich.cells import cell_len
from rich.console import Console

from audio_lm.evaluation.report import Row, Shadow, plain_table, print_table, rows_as_records


@pytest.fixture(params=[True, False], ids=["terminal", "file"])
def printed(request):
    def to_text(rows):
        console = Console(record=True, width=160, file=io.StringIO(), force_terminal=request.param)
        print_table(rows, console)
        return console.export_text()

    return to_text


def test_only_filled_columns_are_shown(printed):
    bare = printed([Row("pretrain", "digits", "asr", "wer", 0.05)])
    assert "0.050" in bare
    assert "untrained" not in bare
    assert "published" not in bare
    full = printed([Row("pretrain", "digits", "asr", "wer", 0.05, untrained=1.0, expected=0.02)])
    assert all(words in full for words in ("untrained", "1.000", "published", "0.020", "word error rate ↓"))


def test_majority_and_number_of_clips_are_columns(printed):
    text = printed([Row("pretrain", "events", "sec", "acc", 0.4, majority=0.25, num_clips=20)])
    heading, line = (line.split() for line in text.splitlines() if "events" in line or "ours" in line)
    assert [word for word in heading if word in ("clips", "majority", "ours")] == [
        "clips",
        "majority",
        "ours",
    ]
    assert [word for word in line if word[0].isdigit()] == ["20", "0.250", "0.400"]


def test_units_and_infinity_are_printed_as_words(printed):
    output = printed([Row("pretrain", "stamps", "srwt-en", "aas", 51.53, untrained=math.inf)])
    assert "51.5 ms" in output
    assert "none matched" in output


def test_rows_are_records_for_other_programs():
    (record,) = rows_as_records([Row("pretrain", "digits", "asr", "wer", 0.05)])
    assert record["ours"] == 0.05


def test_records_with_infinity_are_valid_json():
    (record,) = rows_as_records([Row("pretrain", "stamps", "srwt-en", "aas", math.inf)])
    assert json.loads(json.dumps(record, allow_nan=False))["ours"] is None


def test_names_are_not_parsed_as_rich_markup(printed):
    assert "digits[bold]" in printed([Row("pretrain", "digits[bold]", "asr", "wer", 0.05)])


def test_lines_in_a_file_are_not_wrapped():
    console = Console(record=True, width=20, file=io.StringIO(), force_terminal=False)
    print_table([Row("pretrain", "a long name of a benchmark", "asr", "wer", 0.05)], console)
    assert "a long name of a benchmark  asr   word error rate ↓  0.050" in console.export_text()


def test_columns_are_aligned_in_every_script():
    rows = [Row("pretrain", "数字", "asr", "wer", 0.05), Row("chat", "digits", "lid", "acc", 1.0)]
    lines = plain_table(rows).splitlines()[1:]
    assert len({cell_len(line) for line in lines}) == 1


def test_arrows_become_words_if_the_encoding_lacks_them():
    output = plain_table([Row("chat", "digits", "asr", "wer", 0.0)], encoding="ascii")
    assert "word error rate (down)" in output
    output.encode("ascii")


@pytest.mark.parametrize(
    ("metric", "ours", "untrained", "expected", "color"),
    [
        ("wer", 0.1, 1.0, None, "green"),
        ("wer", 1.0, 1.0, None, "red"),
        ("acc", 0.1, 0.2, None, "red"),
        ("acc", 0.9, 0.2, 0.95, "yellow"),
        ("acc", 0.9, None, 0.9, "green"),
    ],
)
def test_colors_show_improvement_over_untrained_and_published(metric, ours, untrained, expected, color):
    console = Console(
        record=True, width=160, file=io.StringIO(), force_terminal=True, color_system="standard"
    )
    print_table([Row("chat", "digits", "asr", metric, ours, untrained, expected)], console)
    code = {"red": "31", "green": "32", "yellow": "33"}[color]
    assert f"\x1b[{code}m{ours:.3f}" in console.export_text(styles=True)


def test_a_difference_without_an_interval_has_no_brackets():
    shadows = {"silence": Shadow(646.0, float("-inf"), -300.0), "swapped": Shadow(1200.0, -900.0, -700.0)}
    (line,) = plain_table([Row("s", "stamps", "srwt-en", "aas", 229.0, shadows=shadows)]).splitlines()[2:]
    assert line.endswith(" 646.0 ms  1200.0 ms [-900.0 to -700.0]")
