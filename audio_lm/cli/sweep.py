"""Commands of sweeps; ``audio-lm sweep FILE`` is ``audio-lm sweep run FILE``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from audio_lm.cli.library_messages import silence_libraries
from audio_lm.cli.options import DryRun, Json, Overrides, TrustCode, known_sweeps
from audio_lm.cli.sweep_fit import sweep_experts, sweep_extend, sweep_fit, sweep_verify
from audio_lm.cli.sweep_options import SweepName
from audio_lm.cli.sweep_plan import plan
from audio_lm.cli.sweep_report import sweep_report
from audio_lm.cli.train import submit_script

if TYPE_CHECKING:
    from audio_lm.sweep.ledger import Ledger

DEFAULT = "run"


class SweepGroup(TyperGroup):
    """Group of commands whose default command takes a sweep file."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the default command in front of a file."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)


sweep = typer.Typer(
    cls=SweepGroup,
    no_args_is_help=True,
    help="Run trials of a recipe that differ in their mixture, and find the best mixture.\n\n"
    "`audio-lm sweep FILE` runs the sweep of a file; the same command goes on with it after an interruption.",
)

sweep.command()(plan)
sweep.command("fit")(sweep_fit)
sweep.command("extend")(sweep_extend)
sweep.command("verify")(sweep_verify)
sweep.command("experts")(sweep_experts)
sweep.command("report")(sweep_report)

SweepFile = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="A sweep file, or the name of one in recipes/sweeps/.",
        autocompletion=known_sweeps,
    ),
]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Run failed trials again, after the cause was removed.")
]
Out = Annotated[Path | None, typer.Option(help="Folder of the sweep; default `sweeps/<name>-<signature>`.")]


@sweep.command("run")
def sweep_run(
    file: SweepFile,
    overrides: Overrides = None,
    workers: Annotated[int, typer.Option(min=1, help="Trials at a time on this machine.")] = 1,
    retry_failed: RetryFailed = False,
    out: Out = None,
    dry_run: DryRun = False,
    trust_code: TrustCode = False,
) -> None:
    """Run the trials of a sweep; those that were interrupted go on from their checkpoints.

    More workers, here or on other machines that share the folder, join in with `audio-lm sweep work`.

    Examples: `audio-lm sweep demo_mixture` · `audio-lm sweep recipes/sweeps/demo_mixture.yaml --workers 2` ·
    `audio-lm sweep demo_mixture stages.pretrain.steps=50` · `audio-lm sweep demo_mixture --dry-run`
    """
    silence_libraries()
    if dry_run:
        from audio_lm.sweep.start import find_first_trials

        _, folder, num_trials = find_first_trials(file, overrides or [], out=out, trusts_code=trust_code)
        typer.echo(_files_of(folder, num_trials))
        return
    from audio_lm.sweep.start import open_sweep, run_workers

    ledger = open_sweep(file, overrides or [], out=out, trusts_code=trust_code, report=_report)
    typer.echo(f"sweep folder {ledger.folder}; progress: audio-lm sweep status {ledger.folder}")
    _retry(ledger, retry_failed)
    if workers == 1:
        _work(ledger)
    elif code := run_workers(ledger, workers):
        raise typer.Exit(code)


@sweep.command("work")
def sweep_work(
    name: SweepName,
    waits: Annotated[
        bool,
        typer.Option(
            "--wait/--no-wait",
            help="Wait while other workers run the last trials, to take them over if these workers die.",
        ),
    ] = True,
    nodes: Annotated[
        int | None, typer.Option(min=1, help="Nodes of a trial within a SLURM job; default hardware.nodes.")
    ] = None,
    retry_failed: RetryFailed = False,
    num_local: Annotated[int, typer.Option(min=1, help="Workers that share the cores of this machine.")] = 1,
) -> None:
    """Work on a sweep that was started: take trials from its ledger and run them until none is left.

    Any number of workers on any number of machines may work on one folder. If one is killed, another takes its trial over.

    Examples: `audio-lm sweep work sweeps/demo_mixture-1a2b3c4d` · `audio-lm sweep work demo_mixture --no-wait`
    """
    silence_libraries()
    from audio_lm.sweep.start import find_sweep

    ledger = find_sweep(name)
    _retry(ledger, retry_failed)
    _work(ledger, num_workers=num_local, nodes=nodes, waits=waits)


@sweep.command("status")
def sweep_status(
    name: SweepName,
    as_json: Json = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Refresh every two seconds until no trial is left.")
    ] = False,
) -> None:
    """Show trials done, running and failed, and the time left; on any machine that can read the folder.

    Examples: `audio-lm sweep status demo_mixture` · `audio-lm sweep status sweeps/demo_mixture-1a2b3c4d --watch`
    """
    from audio_lm.run.console import run_console
    from audio_lm.sweep.start import find_sweep
    from audio_lm.sweep.status import print_sweep_status, status_of_sweep, watch_sweep

    folder = find_sweep(name).folder
    if as_json:
        typer.echo(json.dumps(status_of_sweep(folder).as_table(), indent=1))
    elif watch:
        watch_sweep(folder, run_console())
    else:
        print_sweep_status(status_of_sweep(folder), run_console())


@sweep.command("submit")
def sweep_submit(
    file: SweepFile,
    overrides: Overrides = None,
    workers: Annotated[int, typer.Option(min=1, help="Tasks of the array, each of which is a worker.")] = 4,
    nodes: Annotated[
        int | None, typer.Option(min=1, help="Nodes of a trial; default hardware.nodes.")
    ] = None,
    time: Annotated[
        str, typer.Option(help="Time limit of a worker in SLURM's format; it is requeued at its end.")
    ] = "24:00:00",
    partition: Annotated[str | None, typer.Option(help="Partition of the cluster.")] = None,
    account: Annotated[str | None, typer.Option(help="Account to charge.")] = None,
    sbatch: Annotated[
        list[str] | None,
        typer.Option(help="Further option of sbatch, such as --sbatch=--qos=long; may be repeated."),
    ] = None,
    script: Annotated[
        Path | None,
        typer.Option("--file", help="Path of the job script; default `<name of the sweep>.sbatch`."),
    ] = None,
    out: Out = None,
    dry_run: DryRun = False,
    trust_code: TrustCode = False,
) -> None:
    """Write a SLURM array whose tasks are workers of a sweep, and submit it with sbatch.

    With `--dry-run`, the script is printed to stdout.

    Examples: `audio-lm sweep submit demo_mixture --dry-run` ·
    `audio-lm sweep submit demo_mixture --workers 8 --time 12:00:00 --partition gpu`
    """
    silence_libraries()
    from audio_lm.run import slurm
    from audio_lm.sweep.start import base_recipe, find_first_trials, open_sweep
    from audio_lm.sweep.submit import array_script

    if dry_run:
        facts, folder, num_trials = find_first_trials(file, overrides or [], out=out, trusts_code=trust_code)
        _to_stderr(_files_of(folder, num_trials))
    else:
        ledger = open_sweep(file, overrides or [], out=out, trusts_code=trust_code, report=_to_stderr)
        facts, folder = ledger.facts, ledger.folder
    composed = base_recipe(facts)
    job = slurm.Job(nodes or composed.recipe.hardware.nodes, time, partition, account, tuple(sbatch or ()))
    path = script or Path(f"{facts.name}.sbatch")
    text = array_script(composed, facts, folder, job, num_tasks=workers)
    submit_script(path, text, dry_run=dry_run)


def _files_of(folder: Path, num_trials: int) -> str:
    """Sentence about what a sweep would write."""
    from audio_lm.sweep.ledger import TRIALS

    return f"would write {folder}: {num_trials} runs in {folder / TRIALS}, tables and a report"


def _report(message: str) -> None:
    typer.echo(message)


def _to_stderr(message: str) -> None:
    typer.echo(message, err=True)


def _retry(ledger: "Ledger", retry_failed: bool) -> None:
    """Let failed trials run again, if the user wants that."""
    if retry_failed:
        names = ledger.retry_failed()
        typer.echo(f"trials that run again: {', '.join(names) or 'none has failed'}")


def _work(ledger: "Ledger", *, num_workers: int = 1, nodes: int | None = None, waits: bool = True) -> None:
    """Work on a sweep in this process; after the last trial, write its report, its tables and its summary run."""
    import signal

    from audio_lm.fault_tolerance.exit_status import INTERRUPTED, STOPPED_BY_SIGNAL
    from audio_lm.sweep.start import make_worker
    from audio_lm.sweep.status import status_of_sweep, summary_line

    worker = make_worker(ledger, _report, num_workers=num_workers, nodes=nodes, waits=waits)
    if received := worker.work():
        raise typer.Exit(INTERRUPTED if received == signal.SIGINT else STOPPED_BY_SIGNAL)
    status = status_of_sweep(ledger.folder)
    typer.echo(summary_line(status))
    if status.is_over:
        from audio_lm.sweep.report.from_results import write_last_report
        from audio_lm.sweep.summary import write_summary

        files = write_last_report(ledger, _report)
        folder = write_summary(ledger, _report, files)
        for path in files[:2]:
            typer.echo(str(path))
        typer.echo(f"tables in {ledger.folder}; summary run {folder}")
