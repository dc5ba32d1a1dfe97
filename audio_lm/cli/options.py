"""Arguments and options shared by several commands, their shell completion, and the settings of libraries."""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

RECIPE_HELP = "A file, or the name of a recipe in recipes/."
OVERRIDES_HELP = (
    "key=value; +key=value adds to an open table, ~key removes a key, only=[chat] runs only that stage."
)


def known_recipes(incomplete: str) -> list[str]:
    """Names of recipes, for shell completion."""
    from audio_lm.config.load import recipe_names

    return [name for name in recipe_names() if name.startswith(incomplete)]


def known_runs(incomplete: str) -> list[str]:
    """Folders of runs in ``runs/``, newest first, for shell completion."""
    from audio_lm.config.load import RECIPE, RUNS

    files = sorted(RUNS.glob(f"*/{RECIPE}"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [str(path.parent) for path in files if str(path).startswith(incomplete)]


def known_corpora(incomplete: str) -> list[str]:
    """Names of corpora, for shell completion."""
    from audio_lm.corpora.registry import CORPORA

    return [name for name in CORPORA if name.startswith(incomplete)]


def known_formats(incomplete: str) -> list[str]:
    """Names of import formats, for shell completion."""
    from audio_lm.corpora.imports.registry import FORMATS

    return [name for name in FORMATS if name.startswith(incomplete)]


def known_sweeps(incomplete: str) -> list[str]:
    """Names of sweep files, for shell completion."""
    from audio_lm.config.resources import resource_names

    return [name for name in resource_names("recipes", "sweeps") if name.startswith(incomplete)]


def known_keys(context: typer.Context, incomplete: str) -> list[str]:
    """Settings of the recipe given earlier on the command line, for shell completion."""
    from audio_lm.config.load import override_keys

    return [f"{key}=" for key in override_keys(context.params.get("recipe")) if key.startswith(incomplete)]


RecipeName = Annotated[str, typer.Argument(help=RECIPE_HELP, autocompletion=known_recipes)]
Overrides = Annotated[list[str] | None, typer.Argument(help=OVERRIDES_HELP, autocompletion=known_keys)]
EvaluationOverrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[OVERRIDES]...",
        help="key=value for evaluation, published, hardware, data_dir, cache_dir, audio_roots, use.benchmarks and corpora that "
        "no stage was trained on; the benchmarks they name are evaluated.",
    ),
]
TrustCode = Annotated[
    bool,
    typer.Option(
        "--trust-code",
        help="Allow Python code that comes with a model to run if the recipe requires it; read the code first.",
    ),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose", help="Keep debug messages in the run's `run.log`, beside those of a normal run."
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print what would be written, and where; nothing is written.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what an earlier call wrote.")]
RunPath = Annotated[
    Path, typer.Argument(help="Folder of a run, such as runs/demo-1a2b3c4d.", autocompletion=known_runs)
]


@contextmanager
def paused_gc() -> Iterator[None]:
    """Pause garbage collection while large libraries are imported: it would scan their objects many times and free none.

    For read-only commands: the collection at exit is skipped too. Saves about a second.
    """
    atexit.register(gc.freeze)  # the interpreter's last collection ignores frozen objects
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
