"""Commands for runs on other machines: ``status`` and ``submit``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from audio_lm.cli.options import Overrides, RecipeName, RunPath, TrustCode


def status(
    run: RunPath,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    watch: Annotated[bool, typer.Option(help="Refresh every two seconds until the run ends.")] = False,
) -> None:
    """Show the progress of a run: step, speed, checkpoint, ranks, restarts; on any machine that can read its folder.

    Examples: `audio-lm status runs/demo-1a2b3c4d` · `audio-lm status runs/demo-1a2b3c4d --watch`
    """
    from rich.console import Console

    from audio_lm.run.status import as_table, print_status, status_of, watch_status

    if as_json:
        typer.echo(json.dumps(as_table(status_of(run)), indent=1))
    elif watch:
        watch_status(run, Console())
    else:
        print_status(status_of(run), Console())


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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write the script without submitting it.")
    ] = False,
    trust_code: TrustCode = False,
) -> None:
    """Write a SLURM job script that requeues itself at its time limit and resumes, and submit it with sbatch.

    Examples: `audio-lm submit demo --dry-run` · `audio-lm submit qwen_audio --nodes 4 --time 12:00:00 --partition gpu`
    """
    from audio_lm.config.load import load_recipe
    from audio_lm.run import slurm

    composed = load_recipe(recipe, overrides or [], trusts_code=trust_code)
    job = slurm.Job(nodes or composed.recipe.hardware.nodes, time, partition, account, tuple(sbatch or ()))
    path, run = file or Path(f"{composed.recipe.name}.sbatch"), composed.run_path(out)
    settings = [*(overrides or []), *(["--trust-code"] if trust_code else [])]
    slurm.write_script(path, slurm.sbatch_script(composed, recipe, settings, job, run))
    typer.echo(str(path) if dry_run else slurm.submit(path))
