"""Progress of work that takes minutes: a bar on a terminal, a line from time to time in a log.

Written to stderr, because programs parse the standard output of ``plan --json``.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from audio_lm.common.audio_units import Seconds
from audio_lm.common.env import is_main
from audio_lm.common.protocols import Advance, ignore_advance

SECONDS_BEFORE_LINE: Seconds = 15.0
SECONDS_BEFORE_FIRST_LINE: Seconds = 5.0


@contextmanager
def progress(
    title: str, *, total: int | None, what: str, min_total: int = 0, console: Console | None = None
) -> Iterator[Advance]:
    """Show progress; yields a function that adds to the amount of work done.

    Args:
        total: amount of all work; None if unknown.
        what: unit of the amount, in the plural.
        min_total: amount from which progress is shown; less is short work.
    """
    if total is not None and total < min_total:
        yield ignore_advance
        return
    console = console or Console(stderr=True, quiet=not is_main())
    if not console.is_terminal:
        yield _LogLines(title, total, what, console).advance
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(what),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        row = bar.add_task(title, total=total)
        yield lambda count: bar.update(row, advance=count)


class _LogLines:
    """Print a line after 5 seconds, then every 15 seconds."""

    def __init__(self, title: str, total: int | None, what: str, console: Console) -> None:
        self.title = title
        self.total = total
        self.what = what
        self.console = console
        self.done = 0
        self.started = time.monotonic()
        self.printed = self.started + SECONDS_BEFORE_FIRST_LINE - SECONDS_BEFORE_LINE

    def advance(self, count: int) -> None:
        """Add to the amount of work done."""
        self.done += count
        now = time.monotonic()
        if now - self.printed > SECONDS_BEFORE_LINE:
            self.printed = now
            self.console.print(self._line(now - self.started), soft_wrap=True, markup=False, highlight=False)

    def _line(self, seconds: Seconds) -> str:
        if self.total is None:
            return f"{self.title}  {self.done} {self.what}"
        left = seconds / max(1, self.done) * max(0, self.total - self.done)
        return f"{self.title}  {self.done}/{self.total} {self.what}  {left:.0f} s left"
