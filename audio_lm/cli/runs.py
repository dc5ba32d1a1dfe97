"""Commands on the folders of runs: list, status, comparison, replay, export, synchronization with MLflow."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from audio_lm.cli.library_messages import silence_libraries
from audio_lm.cli.options import DryRun, Json, Overwrite, RunPath, TrustCode, known_runs

AGAINST = "--against"


class ManyAgainst(TyperCommand):
    """A command whose option ``--against`` takes all words up to the next option, so that a shell may expand a pattern."""

    # Context is that of click, or of the copy of click in later releases of typer.
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the option before each of its words."""
        repeated, is_against = list[str](), False
        for word in args:
            if word.startswith("-"):
                is_against = word == AGAINST
                repeated += [] if is_against else [word]
            else:
                repeated += [AGAINST, word] if is_against else [word]
        return super().parse_args(ctx, repeated)


def runs(
    folder: Annotated[Path, typer.Argument(help="A folder of runs.")] = Path("runs"),
    by: Annotated[
        str | None,
        typer.Option(
            metavar="BENCHMARK/METRIC", help="Sort by this score, best first; default newest first."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """List runs with their state, scores and mixture; the best score of each benchmark is marked.

    Examples: `audio-lm runs` · `audio-lm runs runs --by digits_asr/wer` · `audio-lm runs sweeps/demo-1a2b3c4d/trials --json`
    """
    silence_libraries()
    from audio_lm.run.list_runs import print_runs

    print_runs(folder, by=by, as_json=as_json)


def compare(
    run: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.")],
    against: Annotated[
        list[Path] | None,
        typer.Option(
            AGAINST, metavar="RUN...", help="Folders of the runs to compare them with; up to the next option."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the settings that differ between runs beside the scores that differ.

    Of two runs, differences have paired 95 % bootstrap intervals over the clips that both have answered. Runs that differ in
    their seed only are one arm: means over seeds, and differences between runs of equal seed, have 95 % t-intervals over seeds.
    Without `--against`, three runs or more are grouped into arms by their settings, and the first arm is compared with each
    other one.

    Examples: `audio-lm compare runs/demo-1a2b3c4d runs/demo-5e6f7a8b` ·
    `audio-lm compare runs/a-1 runs/a-2 runs/a-3 --against runs/b-1 runs/b-2 runs/b-3` ·
    `audio-lm compare runs/a-1 runs/a-2 runs/b-1 runs/b-2 --json`
    """
    silence_libraries()
    from audio_lm.run.compare_print import print_comparison

    print_comparison(run, against or (), as_json=as_json)


def status(
    run: RunPath,
    as_json: Json = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Refresh every two seconds until the run ends.")
    ] = False,
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


def replay(
    file: Annotated[Path, typer.Argument(help="`stages/<stage>/replay/step-N-rank-R.safetensors` of a run.")],
    trust_code: TrustCode = False,
) -> None:
    """Repeat a step whose gradient was not finite: its loss, its gradients, and the module of the first non-finite value.

    Example: `audio-lm replay runs/demo-1a2b3c4d/stages/pretrain/replay/step-120-rank-0.safetensors`
    """
    silence_libraries()
    from audio_lm.run.replay import replay as replay_step

    replay_step(file, trusts_code=trust_code)


def export(
    context: typer.Context,
    run: RunPath,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")],
    stage: Annotated[
        str | None,
        typer.Option(help="Stage to export; default the last with weights."),
    ] = None,
    step: Annotated[
        int | None, typer.Option(help="Step of one of the stage's checkpoints, instead of its final weights.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    adapter: Annotated[
        bool,
        typer.Option(
            "--adapter",
            help="Write only the low-rank updates, as a LoRA adapter of the Qwen2-Audio in model.load.",
        ),
    ] = False,
    shard_size: Annotated[str, typer.Option(help="Maximum size of a weight file.")] = "5GB",
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    trust_code: TrustCode = False,
) -> None:
    """Write a run's model as a Qwen2-Audio folder for transformers 4.57 and 5 and `transformers serve`.

    Its README.md has the prompt of every trained task, and its run.py answers a clip without this project.

    Examples: `audio-lm export runs/demo-1a2b3c4d exported` · `audio-lm export runs/demo-1a2b3c4d exported --dtype bfloat16` ·
    `audio-lm export runs/demo-1a2b3c4d exported --stage pretrain --step 200` ·
    `audio-lm export runs/lora-1a2b3c4d adapter --adapter` ·
    `audio-lm export runs/demo-1a2b3c4d exported --dry-run` · `python exported/run.py asr clip.wav`
    """
    silence_libraries()
    from audio_lm.export.run import ExportSettings, bytes_of, describe_export, export_run

    settings = ExportSettings(stage, step, dtype, bytes_of(shard_size), adapter, overwrite)
    if dry_run:
        typer.echo(describe_export(run, folder, settings, trusts_code=trust_code))
        return
    assert context.parent is not None, "a command of the program"
    commands = getattr(context.parent.command, "commands", {})
    export_run(run, folder, settings, commands=commands, report=typer.echo, trusts_code=trust_code)


track = typer.Typer(no_args_is_help=True, help="Synchronize runs with MLflow.")


@track.command("sync")
def track_sync(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.", autocompletion=known_runs)
    ],
    all_runs: Annotated[
        bool, typer.Option("--all", help="The folders contain runs; synchronize every run in them.")
    ] = False,
) -> None:
    """Send to MLflow what it does not have of a run, after its server was unreachable or the machine failed; may be repeated.

    Examples: `audio-lm track sync runs/demo-1a2b3c4d` · `audio-lm track sync --all runs` ·
    `MLFLOW_TRACKING_URI=http://127.0.0.1:5000 audio-lm track sync runs/demo-1a2b3c4d`
    """
    silence_libraries()
    from audio_lm.tracking.mlflow.sync import runs_below, sync

    folders = [run for folder in runs for run in runs_below(folder)] if all_runs else runs
    sync(folders, typer.echo)
