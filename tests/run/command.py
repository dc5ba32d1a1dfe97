"""The command line, called from a test."""

from audio_lm.cli import main as cli


def run(*arguments) -> int | str | None:
    """Run a command; returns its exit code."""
    try:
        cli.main([*map(str, arguments)])
    except SystemExit as error:
        return error.code
    return 0
