"""Command that plans a sweep."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audio_lm.cli.library_messages import silence_libraries
from audio_lm.cli.options import Json, Overrides, TrustCode, paused_gc

if TYPE_CHECKING:
    from audio_lm.run.time_estimate import RunTime
    from audio_lm.sweep.definition import Sweep

SWEEP_HELP = "A file, or the name of a sweep in recipes/sweeps/."


def plan(
    sweep: Annotated[Path, typer.Argument(help=SWEEP_HELP)],
    overrides: Overrides = None,
    as_json: Json = False,
    measure: Annotated[
        bool,
        typer.Option("--measure", help="Run a few steps of a trial here, and print the time of all trials."),
    ] = False,
    trust_code: TrustCode = False,
) -> None:
    """Check a sweep and show its trials: shares, steps, and the repetition of each source beside the full-size recipe.

    Nothing is trained. Corpora that the base recipe prepares are prepared if they are absent, because the trials depend on
    the size of their data.

    Examples: `audio-lm sweep plan demo_mixture` · `audio-lm sweep plan recipes/sweeps/demo_mixture.yaml --measure` ·
    `audio-lm sweep plan demo_mixture stages.pretrain.steps=100 --json`
    """
    silence_libraries()
    with paused_gc():
        from audio_lm.run.console import run_console
        from audio_lm.sweep.load import load_sweep
        from audio_lm.sweep.plan import plan_sweep, print_plan, time_of_trials

    loaded = load_sweep(
        sweep, overrides or [], trusts_code=trust_code, report=lambda message: typer.echo(message, err=True)
    )
    planned = plan_sweep(loaded)
    time = _measured_time(loaded, trust_code) if measure else None
    if as_json:
        seconds = {"seconds": time_of_trials(planned, time)} if time else {}
        typer.echo(json.dumps(planned.as_table() | seconds, indent=1))
        return
    print_plan(planned, run_console(), time)


def _measured_time(sweep: "Sweep", trusts_code: bool) -> "RunTime":
    """Measure the trial of the recipe's own weights.

    Raises:
        RecipeError: a trial needs several processes.
    """
    from audio_lm.common.errors import RecipeError
    from audio_lm.config.load import load_recipe
    from audio_lm.fault_tolerance.torchrun import needs_torchrun
    from audio_lm.run.measure import measure_recipe
    from audio_lm.sweep.design import first_trials

    hardware = sweep.base.recipe.hardware
    if needs_torchrun(hardware.devices, hardware.nodes):
        raise RecipeError(
            f"--measure: a trial runs on {hardware.devices} devices of {hardware.nodes} nodes -- expected one process -- "
            f"measure one trial with `audio-lm plan {sweep.recipe} --measure`"
        )
    own = next(trial for trial in first_trials(sweep) if trial.purpose == "recipe")
    return measure_recipe(load_recipe(sweep.recipe, own.overrides, trusts_code=trusts_code).recipe)
