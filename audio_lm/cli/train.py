"""Commands that describe, plan and train a recipe, here or on a cluster."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audio_lm.cli.library_messages import silence_libraries
from audio_lm.cli.options import DryRun, Json, Overrides, RecipeName, TrustCode, Verbose, paused_gc
from audio_lm.common.env import is_main

if TYPE_CHECKING:
    from audio_lm.config.schema import Recipe
    from audio_lm.run.time_estimate import RunTime

INTERRUPTED = 130  # exit code after Ctrl-C, as in a shell


def train(
    recipe: RecipeName,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; default `runs/<recipe>-<signature>`.")
    ] = None,
    extend: Annotated[
        Path | None,
        typer.Option(
            help="Run whose trained state this run goes on from: more steps, another schedule or rates."
        ),
    ] = None,
    dry_run: DryRun = False,
    trust_code: TrustCode = False,
    verbose: Verbose = False,
) -> None:
    """Train the stages of a recipe, evaluate the model and print the results table.

    Examples: `audio-lm train demo` · `audio-lm train demo seed=1 stages.chat.steps=200` ·
    `audio-lm train demo resume=auto` · `audio-lm train demo only=[chat]` · `audio-lm train demo use.scale=tiny` ·
    `audio-lm train demo resume=segment --out=runs/demo-1a2b3c4d stages.pretrain.mixture.weights.mna=4` ·
    `audio-lm train demo --extend runs/demo-1a2b3c4d stages.chat.steps=1200` · `audio-lm train demo --dry-run`
    """
    from audio_lm.common.env import rank
    from audio_lm.config.load import load_recipe
    from audio_lm.fault_tolerance.exit_status import RunEndedError
    from audio_lm.fault_tolerance.launcher_env import current_launch, stop_agent
    from audio_lm.fault_tolerance.restarts import check_not_ended
    from audio_lm.fault_tolerance.torchrun import exec_torchrun, needs_torchrun

    silence_libraries()
    overrides = [*(overrides or []), *([f"extends={json.dumps(str(extend))}"] if extend else [])]
    composed = load_recipe(recipe, overrides, trusts_code=trust_code)
    if dry_run:
        from audio_lm.run.dry_run import training_files

        typer.echo("\n".join(training_files(composed, out)))
        return
    hardware = composed.recipe.hardware
    if needs_torchrun(hardware.devices, hardware.nodes):
        flags = [name for name, is_set in (("--trust-code", trust_code), ("--verbose", verbose)) if is_set]
        options = [*([f"--out={out}"] if out else []), *flags]
        exec_torchrun(hardware.devices, ["train", recipe, *overrides, *options])
    launch = current_launch()
    try:
        check_not_ended(composed.run_path(out), launch)  # first, because the next import takes seconds
        from audio_lm.run.train import train as train_recipe

        train_recipe(composed, out=out, log_level=logging.DEBUG if verbose else logging.INFO)
    except RunEndedError as ended:
        typer.echo(f"audio-lm: {ended}", err=True)
        if ended.reason.is_final and ended.reason.code and ended.reason.launch == launch.id:
            stop_agent(launch, is_cause=ended.reason.rank == rank() and ended.reason.reason == "fault")
        raise typer.Exit(ended.reason.code) from ended
    except KeyboardInterrupt as stopped:
        typer.echo(f"audio-lm: {stopped or 'stopped'}", err=True)
        raise typer.Exit(INTERRUPTED) from stopped


def describe(
    recipe: RecipeName,
    overrides: Overrides = None,
    examples: Annotated[int, typer.Option(help="Number of rendered examples of each task.")] = 2,
    where: Annotated[
        bool, typer.Option("--where", help="Show the file and line of every value instead.")
    ] = False,
    trust_code: TrustCode = False,
) -> None:
    """Show a recipe as a table of stages, with a few rendered examples of each task.

    Examples: `audio-lm describe recipes/demo.yaml` · `audio-lm describe demo --examples 0` · `audio-lm describe demo --where`
    """
    silence_libraries()
    with paused_gc():
        from audio_lm.config.load import load_recipe

        composed = load_recipe(recipe, overrides or [], trusts_code=trust_code)
        from audio_lm.preview.describe import print_origins, print_recipe

    print_origins(composed) if where else print_recipe(composed, num_per_task=examples)


def plan(
    recipe: RecipeName,
    overrides: Overrides = None,
    as_json: Json = False,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure", help="Run a few steps of each stage here, and print the time of the whole run."
        ),
    ] = False,
    trust_code: TrustCode = False,
) -> None:
    """Estimate a recipe before training: hours, mixture shares, epochs of each source, memory; on a CPU, without audio.

    Examples: `audio-lm plan demo` · `audio-lm plan qwen_audio --json` · `audio-lm plan demo stages.chat.steps=500` ·
    `audio-lm plan own_speech --measure`
    """
    silence_libraries()
    with paused_gc():
        from audio_lm.config.load import load_recipe

        composed = load_recipe(recipe, overrides or [], trusts_code=trust_code)
        from dataclasses import asdict

        from audio_lm.pipeline.contamination import find_contamination
        from audio_lm.preview.estimate import estimate_stages
        from audio_lm.preview.estimate_table import print_estimates
        from audio_lm.run.console import run_console

    flags = [name for name, is_set in (("--json", as_json), ("--trust-code", trust_code)) if is_set]
    times = _measured_time(composed.recipe, [recipe, *(overrides or []), *flags]) if measure else None
    if not is_main():
        return
    stages = list(estimate_stages(composed.recipe))
    contamination = find_contamination(composed.recipe)
    if as_json:
        table = {
            "recipe": composed.recipe.name,
            "stages": [asdict(stage) for stage in stages],
            "contamination": contamination.as_table(),
        }
        typer.echo(json.dumps(table | ({"seconds": times.as_table()} if times else {}), indent=1))
        return
    console = run_console()
    for note in composed.notes:
        console.print(note, soft_wrap=True)
    print_estimates(stages, console)
    for line in contamination.lines():
        console.print(line, soft_wrap=True)
    for line in times.lines() if times else ():
        console.print(line, soft_wrap=True)


def _measured_time(recipe: "Recipe", arguments: list[str]) -> "RunTime":
    """Measure a recipe: in this process, or, if it needs several, in new ones that run the command again.

    Args:
        arguments: of the command, without ``--measure``.
    """
    from audio_lm.fault_tolerance.torchrun import exec_torchrun, needs_torchrun

    hardware = recipe.hardware
    if needs_torchrun(hardware.devices, hardware.nodes):
        exec_torchrun(hardware.devices, ["plan", *arguments, "--measure"])
    from audio_lm.run.measure import measure_recipe

    return measure_recipe(recipe)


def submit(
    recipe: RecipeName,
    overrides: Overrides = None,
    nodes: Annotated[int | None, typer.Option(help="Number of nodes; default hardware.nodes.")] = None,
    time: Annotated[
        str, typer.Option(help="Time limit in SLURM's format; the job is requeued at its end and resumes.")
    ] = "24:00:00",
    partition: Annotated[str | None, typer.Option(help="Partition of the cluster.")] = None,
    account: Annotated[str | None, typer.Option(help="Account to charge.")] = None,
    sbatch: Annotated[
        list[str] | None,
        typer.Option(help="Further option of sbatch, such as --sbatch=--qos=long; may be repeated."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="Path of the job script; default `<recipe>.sbatch`.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; default `runs/<recipe>-<signature>`.")
    ] = None,
    dry_run: DryRun = False,
    trust_code: TrustCode = False,
) -> None:
    """Write a SLURM job script that requeues itself at its time limit and resumes, and submit it with sbatch.

    With `--dry-run`, the script is printed to stdout.

    Examples: `audio-lm submit demo --dry-run` · `audio-lm submit qwen_audio --nodes 4 --time 12:00:00 --partition gpu`
    """
    from audio_lm.config.load import load_recipe
    from audio_lm.run import slurm

    composed = load_recipe(recipe, overrides or [], trusts_code=trust_code)
    job = slurm.Job(nodes or composed.recipe.hardware.nodes, time, partition, account, tuple(sbatch or ()))
    path, run = file or Path(f"{composed.recipe.name}.sbatch"), composed.run_path(out)
    settings = [*(overrides or []), *(["--trust-code"] if trust_code else [])]
    script = slurm.sbatch_script(composed, recipe, settings, job, run)
    submit_script(path, script, dry_run=dry_run)


def submit_script(path: Path, script: str, *, dry_run: bool) -> None:
    """Write a job script and pass it to sbatch, or only print it; where it would be written goes to stderr."""
    from audio_lm.run import slurm

    if dry_run:
        typer.echo(f"would write {path}, and pass it to sbatch:", err=True)
        typer.echo(script, nl=False)
        return
    slurm.write_script(path, script)
    typer.echo(slurm.submit(path))
