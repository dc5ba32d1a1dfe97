"""Where a run speaks: as wide as the terminal, or wide enough for its table in a log file."""

from rich.console import Console

from audio_lm.common.env import is_main

LOG_WIDTH = 140


def run_console() -> Console:
    """A console for people, whoever reads it; of several ranks the first one speaks."""
    console = Console(quiet=not is_main())
    return console if console.is_terminal else Console(width=LOG_WIDTH, quiet=not is_main())
