"""Console of a run: as wide as the terminal, or wide enough for its tables in a log file."""

from rich.console import Console

from audio_lm.common.env import is_main

LOG_WIDTH = 140


def run_console(*, is_stderr: bool = False) -> Console:
    """Create the console of a run; only the first rank prints.

    Args:
        is_stderr: print to standard error, because standard output is for JSON alone.
    """
    console = Console(stderr=is_stderr, quiet=not is_main())
    return console if console.is_terminal else Console(stderr=is_stderr, width=LOG_WIDTH, quiet=console.quiet)
