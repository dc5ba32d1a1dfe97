"""The command line. Every command imports its work when it runs, so that ``--help`` is instant.

Exit codes: 0 done, 1 an internal error, 2 a user error (one sentence, no traceback), 75 stopped by a signal
and 130 by Ctrl-C (a checkpoint was written).
"""

import errno
import json
import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from audio_lm.cli import bench, jobs
from audio_lm.cli.library_messages import silence_libraries
from audio_lm.cli.options import (
    EvaluationOverrides,
    Overrides,
    RecipeName,
    RunPath,
    TrustCode,
    Verbose,
    paused_gc,
)
from audio_lm.common.errors import UserError
from audio_lm.common.source_name import split_source

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
INTERRUPTED = 130  # exit code after Ctrl-C, as in a shell
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
        Path | None, typer.Option(help="Folder of the run; default `runs/<recipe>-<signature>`.")
    ] = None,
    trust_code: TrustCode = False,
    verbose: Verbose = False,
) -> None:
    """Train the stages of a recipe, evaluate the model and print the results table.

    Examples: `audio-lm train demo` · `audio-lm train demo seed=1 stages.chat.steps=200` ·
    `audio-lm train demo resume=auto` · `audio-lm train demo only=[chat]` · `audio-lm train demo use.scale=tiny` ·
    `audio-lm train demo resume=segment --out=runs/demo-1a2b3c4d stages.pretrain.mixture.weights.mna=4`
    """
    from audio_lm.common.env import rank
    from audio_lm.config.load import load_recipe
    from audio_lm.fault_tolerance.exit_status import RunEndedError
    from audio_lm.fault_tolerance.launcher_env import current_launch, stop_agent
    from audio_lm.fault_tolerance.restarts import check_not_ended
    from audio_lm.fault_tolerance.torchrun import exec_torchrun, needs_torchrun

    silence_libraries()
    composed = load_recipe(recipe, overrides or [], trusts_code=trust_code)
    hardware = composed.recipe.hardware
    if needs_torchrun(hardware.devices, hardware.nodes):
        flags = [name for name, is_set in (("--trust-code", trust_code), ("--verbose", verbose)) if is_set]
        options = [*([f"--out={out}"] if out else []), *flags]
        exec_torchrun(hardware.devices, ["train", recipe, *(overrides or []), *options])
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


@app.command()
def describe(
    recipe: RecipeName,
    overrides: Overrides = None,
    examples: Annotated[int, typer.Option(help="Number of rendered examples of each task.")] = 2,
    where: Annotated[bool, typer.Option(help="Show the file and line of every value instead.")] = False,
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


@app.command()
def prepare(
    corpus: Annotated[
        str, typer.Argument(help="Name of the corpus, such as synthetic or fsdd; see --list.")
    ] = "",
    settings: Annotated[
        list[str] | None, typer.Argument(help="key=value, such as seed=1 or clips.digits=100.")
    ] = None,
    data_dir: Annotated[Path, typer.Option(help="Folder of prepared corpora.")] = Path("data"),
    show_list: Annotated[bool, typer.Option("--list", help="List the corpora.")] = False,
) -> None:
    """Synthesize a corpus, or read a published one, and write its cut-sets.

    Examples: `audio-lm prepare synthetic` · `audio-lm prepare synthetic seed=1 clips.digits=100` · `audio-lm prepare fsdd`
    · `audio-lm prepare --list`
    """
    if show_list or not corpus:
        _list_corpora()
        return
    from audio_lm.config.overrides import parse_settings

    table = parse_settings(settings or [])
    silence_libraries()
    from audio_lm.corpora.corpus import prepare as prepare_corpus

    typer.echo(prepare_corpus(corpus, data_dir, table, typer.echo))


@app.command()
def plan(
    recipe: RecipeName,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    trust_code: TrustCode = False,
) -> None:
    """Estimate a recipe before training: hours, mixture shares, epochs of each source, memory; on a CPU, without audio.

    Examples: `audio-lm plan demo` · `audio-lm plan qwen_audio --json` · `audio-lm plan demo stages.chat.steps=500`
    """
    silence_libraries()
    with paused_gc():
        from audio_lm.config.load import load_recipe

        composed = load_recipe(recipe, overrides or [], trusts_code=trust_code)
        from dataclasses import asdict

        from audio_lm.preview.estimate import estimate_stages, print_estimates
        from audio_lm.run.console import run_console

    stages = list(estimate_stages(composed.recipe))
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
        print_estimates(stages, console)


def _list_corpora() -> None:
    silence_libraries()
    from audio_lm.corpora.registry import CORPORA

    for name, corpus in sorted(CORPORA.items()):
        facts = corpus.facts
        hours = sum(subset.hours for subset in facts.subsets.values())
        amount = f", {hours:,.1f} h" if hours else ""
        typer.echo(f"{name:16} {facts.what}{amount}; {facts.licence}; {facts.url}")


@app.command("import")
def import_(
    format_name: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT", help="Name of the format, such as table, kaldi or ms-swift; see --list."
        ),
    ] = "",
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="File to import, or folder for a format of several files.")
    ] = Path(),
    into: Annotated[
        str, typer.Option(help="Name of the new cut-set, corpus/subset-split.")
    ] = "imported/all-train",
    data_dir: Annotated[Path, typer.Option(help="Folder of cut-sets.")] = Path("data"),
    audio_root: Annotated[Path | None, typer.Option(help="Folder that audio paths are relative to.")] = None,
    language: Annotated[
        str | None,
        typer.Option(help="Spoken language, such as en or Portuguese, if the file does not state it."),
    ] = None,
    channel: Annotated[
        str, typer.Option(help="For multi-channel audio: average, left, right, or both as separate clips.")
    ] = "average",
    column: Annotated[
        list[str] | None, typer.Option(help="Column and label, such as transcription=text.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing cut-set.")] = False,
    show_list: Annotated[bool, typer.Option("--list", help="List the formats.")] = False,
) -> None:
    """Make a cut-set from data in the format of another program; audio files stay in place.

    Examples: `audio-lm import table wavs/metadata.csv --language en --into mine/all-train` ·
    `audio-lm import kaldi data/train --language en` · `audio-lm import ms-swift train.jsonl` · `audio-lm import --list`
    """
    silence_libraries()
    from audio_lm.corpora.imports.common import ImportOptions
    from audio_lm.corpora.imports.importing import import_file
    from audio_lm.corpora.imports.registry import FORMATS

    if show_list or not format_name:
        for file_format in FORMATS.values():
            typer.echo(f"{file_format.name:16} {file_format.what}\n{'':16} {file_format.example}")
        return
    if wrong := [pair for pair in column or () if "=" not in pair]:
        raise UserError(
            f"--column {wrong[0]} -- expected name=label, such as transcription=text; add the label"
        )
    columns = dict(pair.split("=", 1) for pair in column or ())
    corpus, subset_split = split_source(into)
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
    """Evaluate a run's models again on its benchmarks, or on others; writes only predictions/ and scores.json.

    Examples: `audio-lm evaluate runs/demo-1a2b3c4d` ·
    `audio-lm evaluate runs/demo-1a2b3c4d --benchmarks digits_asr,digits_srwt` ·
    `audio-lm evaluate runs/demo-1a2b3c4d use.benchmarks=spoken_digits data_dir=fsdd_data --benchmarks single` ·
    `audio-lm evaluate runs/demo-1a2b3c4d 'evaluation.benchmarks.notes={source: synthetic/notes-train, task: mna, metrics:
    [pitch_acc], prompt: tags, stage: pretrain}'`
    """
    silence_libraries()
    from audio_lm.run.evaluate import evaluate as evaluate_run

    evaluate_run(run, overrides=overrides or [], benchmarks=benchmarks or [], trusts_code=trust_code)


@app.command()
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


@app.command()
def score(run: RunPath) -> None:
    """Compute the scores of a run's saved predictions again, without a model.

    Example: `audio-lm score runs/demo-1a2b3c4d`
    """
    silence_libraries()
    from audio_lm.run.evaluate import rescore

    rescore(run)


@app.command()
def report(run: RunPath) -> None:
    """Print the results table of a run: its scores, those of the untrained model, and published scores.

    Example: `audio-lm report runs/demo-1a2b3c4d`
    """
    silence_libraries()
    from audio_lm.run.evaluate import report as print_report

    print_report(run)


track = typer.Typer(no_args_is_help=True, help="Synchronize runs with MLflow.")
app.add_typer(track, name="track")


@track.command("sync")
def track_sync(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.")],
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


@app.command()
def export(
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
    trust_code: TrustCode = False,
) -> None:
    """Write a run's model as a Qwen2-Audio folder for transformers 4.57 and 5 and `transformers serve`.

    Examples: `audio-lm export runs/demo-1a2b3c4d exported` · `audio-lm export runs/demo-1a2b3c4d exported --dtype bfloat16` ·
    `audio-lm export runs/demo-1a2b3c4d exported --stage pretrain --step 200` · `transformers serve exported --device cpu`
    """
    silence_libraries()
    from audio_lm.export.hugging_face import export_run

    export_run(run, folder, stage=stage, step=step, dtype=dtype, report=typer.echo, trusts_code=trust_code)


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with its exit code."""
    from audio_lm.common.errors import AlreadyReportedError
    from audio_lm.common.secrets import mask_secrets
    from audio_lm.fault_tolerance.dedupe_errors import is_first_to_report
    from audio_lm.fault_tolerance.launcher_env import current_launch
    from audio_lm.fault_tolerance.processes import die_with_parent

    if current_launch().is_elastic:
        die_with_parent()

    try:
        exit_code = app(args=arguments, standalone_mode=False)
    except UserError as error:
        if not isinstance(error, AlreadyReportedError) and is_first_to_report(str(error)):
            typer.echo(f"audio-lm: {mask_secrets(str(error))}", err=True)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(INTERRUPTED)
    except Exception as error:
        _exit_if_usage_error(error)
        _exit_if_disk_full(error)
        raise
    if exit_code:  # of typer.Exit
        sys.exit(exit_code)


def _exit_if_usage_error(error: Exception) -> None:
    """Exit with 2 on an unknown command or option, which typer's parser reports itself."""
    show = getattr(error, "show", None)
    if show is not None:
        show()
        sys.exit(getattr(error, "exit_code", 2))


def _exit_if_disk_full(error: Exception) -> None:
    """Exit with 2 if a disk is full, which is not an internal error."""
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        typer.echo(
            f"audio-lm: {error.filename or 'a file'} cannot be written ({error.strerror}) -- free disk space and run the "
            f"command again; training resumes from its last checkpoint with resume=auto",
            err=True,
        )
        sys.exit(2)


if __name__ == "__main__":
    main()
