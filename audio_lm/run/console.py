"""Console of a run: as wide as the terminal, or wide enough for its tables in a log file."""

from rich.console import Console

from audio_lm.common.env import is_main

LOG_WIDTH = 140


def run_console() -> Console:
    """Create the console of a run; only the first rank prints."""
    console = Console(quiet=not is_main())
    return console if console.is_terminal else Console(width=LOG_WIDTH, quiet=not is_main())
