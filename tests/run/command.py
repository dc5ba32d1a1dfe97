"""The command line, called from a test."""

from audio_lm.cli import main as cli


def run(*arguments) -> int | str | None:
    """The exit code of a command."""
    try:
        cli.main([*map(str, arguments)])
    except SystemExit as left:
        return left.code
    return 0
