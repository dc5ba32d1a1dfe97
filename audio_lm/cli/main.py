"""The command line. Every command imports its work when it runs, so that ``--help`` is instant.

Exit codes: 0 done, 1 an internal error, 2 a user error (one sentence, no traceback), 75 stopped by a signal
and 130 by Ctrl-C (a checkpoint was written).
"""

import errno
import sys

import typer

from audio_lm.cli import (
    ask,
    bench,
    chat,
    data,
    demo,
    evaluation,
    ground,
    judge,
    new,
    runs,
    serve,
    sweep,
    synthesize,
    train,
)
from audio_lm.cli.library_messages import plain_warnings
from audio_lm.cli.train import INTERRUPTED
from audio_lm.common.errors import UserError

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
app = typer.Typer(
    name="audio-lm",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Train audio-language models from recipes.\n\n"
    "Start with `audio-lm demo` (offline, two cores), then `audio-lm describe demo`.",
)
app.command()(demo.demo)
app.command()(new.new)
app.command()(train.train)
app.command()(train.describe)
app.command()(train.plan)
app.command()(data.prepare)
app.command("import")(data.import_)
app.command()(synthesize.synthesize)
app.command()(ask.ask)
app.command()(chat.chat)
app.command()(ground.ground)
app.command()(ground.edit)
app.command()(serve.serve)
app.command()(evaluation.evaluate)
app.command()(evaluation.score)
app.command()(judge.judge)
app.command()(evaluation.report)
app.command()(runs.runs)
app.command(cls=runs.ManyAgainst)(runs.compare)
app.command()(runs.status)
app.command()(runs.replay)
app.command()(runs.export)
app.command()(train.submit)
app.add_typer(sweep.sweep, name="sweep")
app.add_typer(runs.track, name="track")
app.add_typer(bench.bench, name="bench")


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with its exit code."""
    from audio_lm.common.errors import AlreadyReportedError
    from audio_lm.common.secrets import mask_secrets
    from audio_lm.fault_tolerance.dedupe_errors import is_first_to_report
    from audio_lm.fault_tolerance.launcher_env import current_launch
    from audio_lm.fault_tolerance.processes import die_with_parent

    if current_launch().is_elastic:
        die_with_parent()

    try:
        with plain_warnings():
            exit_code = app(args=arguments, standalone_mode=False)
    except UserError as error:
        if not isinstance(error, AlreadyReportedError) and is_first_to_report(str(error)):
            typer.echo(f"audio-lm: {mask_secrets(str(error))}", err=True)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(INTERRUPTED)
    except Exception as error:
        _exit_if_usage_error(error)
        _exit_if_disk_full(error)
        raise
    if exit_code:  # of typer.Exit
        sys.exit(exit_code)


def _exit_if_usage_error(error: Exception) -> None:
    """Exit with 2 on an unknown command or option, which typer's parser reports itself."""
    show = getattr(error, "show", None)
    if show is not None:
        show()
        sys.exit(getattr(error, "exit_code", 2))


def _exit_if_disk_full(error: Exception) -> None:
    """Exit with 2 if a disk is full, which is not an internal error."""
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        typer.echo(
            f"audio-lm: {error.filename or 'a file'} cannot be written ({error.strerror}) -- free disk space and run the "
            f"command again; training resumes from its last checkpoint with resume=auto",
            err=True,
        )
        sys.exit(2)


if __name__ == "__main__":
    main()
