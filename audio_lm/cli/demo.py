"""Command that trains the demo, also without the package that speaks."""

from pathlib import Path
from typing import Annotated

import typer

from audio_lm.cli.options import OVERRIDES_HELP, DryRun, known_keys
from audio_lm.cli.train import train

RECIPE = "demo"


def demo(
    overrides: Annotated[
        list[str] | None, typer.Argument(help=OVERRIDES_HELP, autocompletion=known_keys)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; default `runs/demo-<signature>`.")
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Train and evaluate the demo, a small model of speech, sounds and music: offline, two CPU cores. The same as `train demo`.

    Examples: `audio-lm demo` · `audio-lm demo use.scale=tiny` · `audio-lm demo resume=auto` ·
    `audio-lm demo --dry-run`
    """
    from audio_lm.corpora.synthetic.speech_synthesis import has_synthesizer

    overrides = overrides or []
    further = [] if has_synthesizer() else _without_speech(overrides)
    train(RECIPE, [*overrides, *further], out=out, dry_run=dry_run)


def _without_speech(overrides: list[str]) -> list[str]:
    """Overrides that leave out everything spoken; prints that."""
    from audio_lm.common.source_name import parse_source
    from audio_lm.config.leave_out import overrides_without
    from audio_lm.config.load import load_recipe
    from audio_lm.corpora.synthetic.speech import is_spoken

    typer.echo(
        "espeakng-loader is not installed: the demo is trained without speech, on sounds, notes and dialogues about them; "
        "for speech: pip install 'audio-lm[speech]'"
    )
    recipe = load_recipe(RECIPE, overrides).recipe
    return overrides_without(recipe, lambda source: is_spoken(parse_source(source).subset))
