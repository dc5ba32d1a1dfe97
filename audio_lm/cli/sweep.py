"""Commands of sweeps."""

import typer

from audio_lm.cli.sweep_plan import plan

sweep = typer.Typer(no_args_is_help=True, help="Sweeps over task mixtures and settings of a recipe.")
sweep.command()(plan)
