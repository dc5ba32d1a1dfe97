"""Entry of notebooks: the view of a run, without messages of libraries in between."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from audio_lm.cli.library_messages import silence_libraries

if TYPE_CHECKING:
    from audio_lm.notebook.run_view import RunView


def view_run(run: str | Path | None = None) -> "RunView":
    """View a run in a notebook.

    Args:
        run: its folder; None trains a small run of the demo into ``work/``, or takes the one that is there.

    Raises:
        UserError: the folder holds no run.
    """
    silence_libraries()
    # Imported here, because libraries write their messages when they are imported.
    from audio_lm.notebook.example_run import example_run
    from audio_lm.notebook.run_view import RunView

    return RunView(example_run(console=Console()) if run is None else run)
