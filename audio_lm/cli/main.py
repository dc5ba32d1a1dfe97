"""The command line. Every command imports its work when it runs, so that ``--help`` is instant.

Exit codes: 0 done, 2 the user's mistake (one sentence, no traceback), 130
stopped by Ctrl-C and 75 by another signal (a checkpoint was written), 1 ours.
"""

import errno
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from audio_lm.cli import bench, jobs
from audio_lm.cli.options import (
    EvaluationOverrides,
    Overrides,
    RecipeName,
    RunPath,
    TrustCode,
    paused_gc,
    quiet,
)
from audio_lm.common.errors import UserError

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
STOPPED = 130  # exit code after Ctrl-C, as of a shell
app = typer.Typer(
    name="audio-lm",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Train audio-language models from recipes.\n\n"
    "Start with `audio-lm train demo` (offline, two cores), then `audio-lm describe demo`.",
)
for command in (jobs.status, jobs.submit):
    app.command()(command)


@app.command()
def train(
    recipe: RecipeName,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="The run's folder; default `runs/<recipe>-<signature>`.")
    ] = None,
    trust_code: TrustCode = False,
) -> None:
    """Carry a recipe out: train its stages, judge the model, print the table.

    Examples: `audio-lm train demo` · `audio-lm train demo seed=1 stages.chat.steps=200` ·
    `audio-lm train demo resume=auto` · `audio-lm train demo only=[chat]` · `audio-lm train demo use.scale=tiny` ·
    `audio-lm train demo resume=segment --out=runs/demo-1a2b3c4d stages.pretrain.mixture.weights.mna=4`
    """
    from audio_lm.common.runtime import rank
    from audio_lm.config.load import load_recipe
    from audio_lm.fault_tolerance.exit_status import RunEndedError
    from audio_lm.fault_tolerance.launcher_env import current_launch, stop_agent
    from audio_lm.fault_tolerance.restarts import check_not_ended
    from audio_lm.fault_tolerance.torchrun import exec_torchrun, needs_torchrun

    quiet()
    composed = load_recipe(recipe, overrides or [], trusts_code=trust_code)
    hardware = composed.recipe.hardware
    if needs_torchrun(hardware.devices, hardware.nodes):
        options = [*([f"--out={out}"] if out else []), *(["--trust-code"] if trust_code else [])]
        exec_torchrun(hardware.devices, ["train", recipe, *(overrides or []), *options])
    launch = current_launch()
    try:
        check_not_ended(composed.run_path(out), launch)  # before the seconds that the next line takes
        from audio_lm.run.train import train as carry_out

        carry_out(composed, out=out)
    except RunEndedError as ended:
        typer.echo(f"audio-lm: {ended}", err=True)
        if ended.reason.is_final and ended.reason.code and ended.reason.launch == launch.id:
            stop_agent(launch, is_cause=ended.reason.rank == rank() and ended.reason.reason == "fault")
        raise typer.Exit(ended.reason.code) from ended
    except KeyboardInterrupt as stopped:
        typer.echo(f"audio-lm: {stopped or 'stopped'}", err=True)
        raise typer.Exit(STOPPED) from stopped


@app.command()
def describe(
    recipe: RecipeName,
    overrides: Overrides = None,
    examples: Annotated[int, typer.Option(help="Rendered examples of each task.")] = 2,
    where: Annotated[bool, typer.Option(help="Show the file and line of every value instead.")] = False,
    trust_code: TrustCode = False,
) -> None:
    """Show a recipe as a table of stages, with a few rendered examples of each task.

    Examples: `audio-lm describe recipes/demo.yaml` · `audio-lm describe demo --examples 0` · `audio-lm describe demo --where`
    """
    quiet()
    with paused_gc():
        from audio_lm.config.load import load_recipe

        composed = load_recipe(recipe, overrides or [], trusts_code=trust_code)
        from audio_lm.preview import describe as describing

    describing.print_origins(composed) if where else describing.print_recipe(composed, num_per_task=examples)


@app.command()
def prepare(
    corpus: Annotated[str, typer.Argument(help="Its name, such as synthetic or fsdd; see --list.")] = "",
    settings: Annotated[
        list[str] | None, typer.Argument(help="key=value, such as seed=1 or clips.digits=100.")
    ] = None,
    data_dir: Annotated[Path, typer.Option(help="Where prepared corpora lie.")] = Path("data"),
    show_list: Annotated[bool, typer.Option("--list", help="Show the corpora.")] = False,
) -> None:
    """Make or read a corpus and write its cut-sets.

    Examples: `audio-lm prepare synthetic` · `audio-lm prepare synthetic seed=1 clips.digits=100` · `audio-lm prepare fsdd`
    · `audio-lm prepare --list`
    """
    if show_list or not corpus:
        _list_corpora()
        return
    from audio_lm.config.overrides import settings_of

    table = settings_of(settings or [])
    quiet()
    from audio_lm.corpora.corpus import prepare as write

    typer.echo(write(corpus, data_dir, table, typer.echo))


@app.command()
def plan(
    recipe: RecipeName,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="For other programs.")] = False,
    trust_code: TrustCode = False,
) -> None:
    """Show what a recipe will hear before it is trained: hours, shares, passes, warnings; on a CPU, without audio.

    Examples: `audio-lm plan demo` · `audio-lm plan qwen_audio --json` · `audio-lm plan demo stages.chat.steps=500`
    """
    quiet()
    with paused_gc():
        from audio_lm.config.load import load_recipe

        composed = load_recipe(recipe, overrides or [], trusts_code=trust_code)
        from dataclasses import asdict

        from audio_lm.preview.estimate import forecast, print_forecast
        from audio_lm.run.console import run_console

    stages = list(forecast(composed.recipe))
    if as_json:
        typer.echo(
            json.dumps(
                {"recipe": composed.recipe.name, "stages": [asdict(stage) for stage in stages]}, indent=1
            )
        )
    else:
        console = run_console()
        for note in composed.notes:
            console.print(note, soft_wrap=True)
        print_forecast(stages, console)


def _list_corpora() -> None:
    quiet()
    from audio_lm.corpora.registry import CORPORA

    for name, one in sorted(CORPORA.items()):
        facts = one.facts
        hours = sum(subset.hours for subset in facts.subsets.values())
        amount = f", {hours:,.1f} h" if hours else ""
        typer.echo(f"{name:16} {facts.what}{amount}; {facts.licence}; {facts.url}")


@app.command("import")
def import_(
    format_name: Annotated[
        str, typer.Argument(metavar="FORMAT", help="Such as table, kaldi or ms-swift; see --list.")
    ] = "",
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="The file, or the folder where the format is one.")
    ] = Path(),
    into: Annotated[
        str, typer.Option(help="Name of the cut-set, corpus/subset-split.")
    ] = "imported/all-train",
    data_dir: Annotated[Path, typer.Option(help="Where cut-sets lie.")] = Path("data"),
    audio_root: Annotated[
        Path | None, typer.Option(help="Folder that paths of audio are relative to.")
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="Of the speech, such as en or Portuguese, where the file does not say.")
    ] = None,
    channel: Annotated[
        str, typer.Option(help="Of audio with several: average, left, right, or both as clips of their own.")
    ] = "average",
    column: Annotated[list[str] | None, typer.Option(help="name=label, such as transcription=text.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Put it in the place of an older one.")] = False,
    show_list: Annotated[bool, typer.Option("--list", help="Show the formats.")] = False,
) -> None:
    """Make a cut-set of data that another program uses; audio stays where it is.

    Examples: `audio-lm import table wavs/metadata.csv --language en --into mine/all-train` ·
    `audio-lm import kaldi data/train --language en` · `audio-lm import ms-swift train.jsonl` · `audio-lm import --list`
    """
    quiet()
    from audio_lm.corpora.imports.common import ImportOptions
    from audio_lm.corpora.imports.importing import import_file
    from audio_lm.corpora.imports.registry import FORMATS

    if show_list or not format_name:
        for one in FORMATS.values():
            typer.echo(f"{one.name:16} {one.what}\n{'':16} {one.example}")
        return
    if wrong := [pair for pair in column or () if "=" not in pair]:
        raise UserError(
            f"--column {wrong[0]} -- expected name=label, such as transcription=text; add the label"
        )
    columns = dict(pair.split("=", 1) for pair in column or ())
    corpus, _, subset_split = into.partition("/")
    options = ImportOptions(audio_root=audio_root, language=language, columns=columns, channel=channel)
    typer.echo(
        import_file(
            format_name, path, data_dir, corpus, subset_split, options, typer.echo, overwrite=overwrite
        )
    )


app.add_typer(bench.bench, name="bench")


@app.command()
def evaluate(
    run: RunPath,
    overrides: EvaluationOverrides = None,
    benchmarks: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME,...", help="Evaluate only these; may be repeated."),
    ] = None,
    trust_code: TrustCode = False,
) -> None:
    """Evaluate a run's models on its benchmarks again, or on others; writes predictions/ and scores.json, nothing else.

    Examples: `audio-lm evaluate runs/demo-1a2b3c4d` ·
    `audio-lm evaluate runs/demo-1a2b3c4d --benchmarks digits_asr,digits_srwt` ·
    `audio-lm evaluate runs/demo-1a2b3c4d use.benchmarks=spoken_digits data_dir=fsdd_data --benchmarks single` ·
    `audio-lm evaluate runs/demo-1a2b3c4d 'evaluation.benchmarks.notes={source: synthetic/notes-train, task: mna, metrics:
    [pitch_acc], prompt: tags, stage: pretrain}'`
    """
    quiet()
    from audio_lm.run.evaluate import evaluate as judge

    judge(run, overrides=overrides or [], benchmarks=benchmarks or [], trusts_code=trust_code)


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="`stages/<stage>/replay/step-N-rank-R.safetensors` of a run.")],
    trust_code: TrustCode = False,
) -> None:
    """Run a step whose gradient was not finite again: its loss, its gradients, and where the first such value comes from.

    Example: `audio-lm replay runs/demo-1a2b3c4d/stages/pretrain/replay/step-120-rank-0.safetensors`
    """
    quiet()
    from audio_lm.run.replay import replay as again

    again(file, trusts_code=trust_code)


@app.command()
def score(run: RunPath) -> None:
    """Score the predictions a run has kept, without a model.

    Example: `audio-lm score runs/demo-1a2b3c4d`
    """
    quiet()
    from audio_lm.run.evaluate import rescore

    rescore(run)


@app.command()
def report(run: RunPath) -> None:
    """Print the table of a run: ours, the untrained model's, the published.

    Example: `audio-lm report runs/demo-1a2b3c4d`
    """
    quiet()
    from audio_lm.run.evaluate import report as show

    show(run)


track = typer.Typer(no_args_is_help=True, help="What MLflow has of a run, and what it does not have yet.")
app.add_typer(track, name="track")


@track.command("sync")
def track_sync(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.")],
    all_runs: Annotated[
        bool, typer.Option("--all", help="They are folders that hold runs; every run in them.")
    ] = False,
) -> None:
    """Send what MLflow does not have of a run: its server was away, or the machine was lost. Any number of times.

    Examples: `audio-lm track sync runs/demo-1a2b3c4d` · `audio-lm track sync --all runs` ·
    `MLFLOW_TRACKING_URI=http://127.0.0.1:5000 audio-lm track sync runs/demo-1a2b3c4d`
    """
    quiet()
    from audio_lm.tracking.mlflow.sync import runs_below, sync

    folders = [run for folder in runs for run in runs_below(folder)] if all_runs else runs
    sync(folders, typer.echo)


@app.command()
def export(
    run: RunPath,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")],
    stage: Annotated[str | None, typer.Option(help="Whose weights; default the last that left some.")] = None,
    step: Annotated[
        int | None, typer.Option(help="Of a checkpoint of the stage, instead of its end.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    trust_code: TrustCode = False,
) -> None:
    """Write a run's model as a Qwen2-Audio folder for transformers 4.57 and 5 and `transformers serve`.

    Examples: `audio-lm export runs/demo-1a2b3c4d exported` · `audio-lm export runs/demo-1a2b3c4d exported --dtype bfloat16` ·
    `audio-lm export runs/demo-1a2b3c4d exported --stage pretrain --step 200` · `transformers serve exported --device cpu`
    """
    quiet()
    from audio_lm.export.hugging_face import export_run

    export_run(run, folder, stage=stage, step=step, dtype=dtype, report=typer.echo, trusts_code=trust_code)


def main(arguments: list[str] | None = None) -> None:
    """Run a command and leave with its exit code."""
    from audio_lm.common.errors import AlreadyReportedError
    from audio_lm.common.secrets import mask_secrets
    from audio_lm.fault_tolerance.dedupe_errors import is_first_to_report
    from audio_lm.fault_tolerance.launcher_env import current_launch
    from audio_lm.fault_tolerance.processes import die_with_parent

    if current_launch().is_elastic:
        die_with_parent()

    try:
        left = app(args=arguments, standalone_mode=False)
    except UserError as error:
        if not isinstance(error, AlreadyReportedError) and is_first_to_report(str(error)):
            typer.echo(f"audio-lm: {mask_secrets(str(error))}", err=True)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(STOPPED)
    except Exception as error:
        _leave_if_usage(error)
        _leave_if_full(error)
        raise
    if left:  # the code of typer.Exit
        sys.exit(left)


def _leave_if_usage(error: Exception) -> None:
    """Exit with 2 on a misspelt command or option, which typer's parser reports itself."""
    show = getattr(error, "show", None)
    if show is not None:
        show()
        sys.exit(getattr(error, "exit_code", 2))


def _leave_if_full(error: Exception) -> None:
    """Exit with 2 where a disk has no room, which is nobody's fault in here."""
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        typer.echo(
            f"audio-lm: {error.filename or 'a file'} cannot be written ({error.strerror}) -- make room, and give the command "
            f"again; a training goes on from its last checkpoint with resume=auto",
            err=True,
        )
        sys.exit(2)


if __name__ == "__main__":
    main()
