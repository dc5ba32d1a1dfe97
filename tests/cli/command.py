"""A command of the command line, run in this process."""

from audio_lm.cli import main as cli


def run(*arguments):
    """Exit code of a command, in this process."""
    try:
        cli.main([*map(str, arguments)])
    except SystemExit as exited:
        return exited.code or 0
    return 0
