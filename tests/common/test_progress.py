from io import StringIO

from rich.console import Console

from audio_lm.common import progress as module
from audio_lm.common.progress import progress


def test_a_log_has_a_line_from_time_to_time_with_the_time_left(monkeypatch):
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    text = StringIO()
    with progress("counting [a/b]", total=8, what="rows", console=Console(file=text, width=40)) as advance:
        for _ in range(4):
            advance(2)
    assert text.getvalue().splitlines() == [
        "counting [a/b]  2/8 rows  30 s left",
        "counting [a/b]  6/8 rows  10 s left",
    ]


def test_work_of_unknown_amount_is_counted(monkeypatch):
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    text = StringIO()
    with progress("reading", total=None, what="rows", console=Console(file=text)) as advance:
        for _ in range(2):
            advance(2)
    assert text.getvalue() == "reading  2 rows\n"


def test_a_bar_is_not_shown_for_short_work():
    text = StringIO()
    console = Console(file=text, force_terminal=True)
    with progress("counting", total=9, what="rows", min_total=10, console=console) as advance:
        advance(9)
    assert text.getvalue() == ""


def test_short_work_leaves_nothing_in_a_log():
    text = StringIO()
    with progress("counting", total=2, what="rows", console=Console(file=text)) as advance:
        advance(2)
    assert text.getvalue() == ""


def test_a_terminal_shows_a_bar_and_is_clean_afterwards():
    text = StringIO()
    console = Console(file=text, force_terminal=True, width=120)
    with progress("counting", total=2, what="rows", console=console) as advance:
        advance(1)
    assert "counting" in text.getvalue()
    assert "1/2" in text.getvalue()
    assert text.getvalue().endswith("\x1b[2K")


def test_other_ranks_are_silent(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setattr(module, "SECONDS_BEFORE_LINE", -1.0)
    monkeypatch.setattr(module, "SECONDS_BEFORE_FIRST_LINE", -1.0)
    with progress("counting", total=2, what="rows") as advance:
        advance(1)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("RANK", "0")
    with progress("counting", total=2, what="rows") as advance:
        advance(1)
    assert "1/2 rows" in capsys.readouterr().err
