"""Commands about runs that go on elsewhere: how one is, and handing one to a cluster."""

import json
from pathlib import Path
from typing import Annotated

import typer

from audio_lm.cli.options import Overrides, RecipeName, RunPath, TrustCode


def status(
    run: RunPath,
    as_json: Annotated[bool, typer.Option("--json", help="For other programs.")] = False,
    watch: Annotated[bool, typer.Option(help="Show it again every two seconds until the run ends.")] = False,
) -> None:
    """Show how far a run is: step, speed, checkpoint, ranks, restarts; from its folder, on any machine that sees it.

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
    nodes: Annotated[int | None, typer.Option(help="How many; default hardware.nodes.")] = None,
    time: Annotated[
        str, typer.Option(help="Of the job, as SLURM writes it; it goes on in a next one.")
    ] = "24:00:00",
    partition: Annotated[str | None, typer.Option(help="Of the cluster.")] = None,
    account: Annotated[str | None, typer.Option(help="Who pays.")] = None,
    sbatch: Annotated[
        list[str] | None, typer.Option(help="Another option, such as --sbatch=--qos=long.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="Where it is written; default `<recipe>.sbatch`.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run's folder; default `runs/<recipe>-<signature>`.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write the file, hand it to nobody.")] = False,
    trust_code: TrustCode = False,
) -> None:
    """Write a recipe's SLURM job, which goes on by itself when its time is over, and hand it to sbatch.

    Examples: `audio-lm submit demo --dry-run` · `audio-lm submit qwen_audio --nodes 4 --time 12:00:00 --partition gpu`
    """
    from audio_lm.config.load import load_recipe
    from audio_lm.run import slurm as submitting

    composed = load_recipe(recipe, overrides or [], trusts_code=trust_code)
    job = submitting.Job(
        nodes or composed.recipe.hardware.nodes, time, partition, account, tuple(sbatch or ())
    )
    path, run = file or Path(f"{composed.recipe.name}.sbatch"), composed.run_path(out)
    settings = [*(overrides or []), *(["--trust-code"] if trust_code else [])]
    submitting.write_script(path, submitting.sbatch_script(composed, recipe, settings, job, run))
    typer.echo(str(path) if dry_run else submitting.submit(path))
