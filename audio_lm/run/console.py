"""Where a run speaks: as wide as the terminal, or wide enough for its table in a log file."""

from rich.console import Console

LOG_WIDTH = 140


def run_console() -> Console:
    """A console for people, whoever reads it."""
    console = Console()
    return console if console.is_terminal else Console(width=LOG_WIDTH)
