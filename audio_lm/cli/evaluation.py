"""Commands that evaluate a model and print its scores."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audio_lm.cli.library_messages import silence_libraries
from audio_lm.cli.options import EvaluationOverrides, Json, TrustCode, known_runs
from audio_lm.common.env import is_main
from audio_lm.common.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

ModelPath = Annotated[
    str, typer.Argument(metavar="MODEL", help="Run, exported or published model folder, or a hub name.")
]
ResultsPath = Annotated[
    Path, typer.Argument(metavar="RUN", help="Folder of a run, or of an evaluation of another model.")
]
ScoredPath = Annotated[
    Path,
    typer.Argument(metavar="RUN|FILE", help="Folder of a run or evaluation, or a file of predictions."),
]
FileMetrics = Annotated[
    list[str] | None,
    typer.Option("--metrics", metavar="METRIC,...", help="Of a file: these instead of those of its format."),
]
FileLanguage = Annotated[
    str | None, typer.Option("--language", help="Of a file that names none: the language of its references.")
]
Details = Annotated[
    bool, typer.Option("--details", help="Print confusion tables and the range over the speakers as well.")
]


Names = list[str] | None
Benchmarks = Annotated[
    Names,
    typer.Option(
        metavar="NAME,...",
        help="Benchmarks of a run, or suites of conf/benchmarks/ for any model; may be repeated.",
    ),
]
Sources = Annotated[
    Names, typer.Option(metavar="CORPUS/SUBSET-SPLIT,...", help="Clips to answer; may be repeated.")
]
Tasks = Annotated[Names, typer.Option(metavar="TASK,...", help="Task of these clips; may be repeated.")]
Metrics = Annotated[Names, typer.Option(metavar="METRIC,...", help="Metrics; default those of the task.")]
Prompts = Annotated[
    Names,
    typer.Option(metavar="FORMAT,...", help="tags, natural or chatml; default that of the training."),
]
Question = Annotated[str | None, typer.Option(help="Question in words, instead of that of the task.")]
Stage = Annotated[
    str | None, typer.Option(help="Stage of a run; default the last that was trained with the task.")
]
Name = Annotated[str | None, typer.Option(help="Name of the benchmark; default CORPUS/SUBSET-SPLIT/TASK.")]
MaxClips = Annotated[int | None, typer.Option(min=1, help="Answer only the first clips.")]
MaxNewTokens = Annotated[int, typer.Option(min=1, help="Maximum length of an answer.")]
DataDir = Annotated[str | None, typer.Option(help="Folder of cut-sets; default that of the run, or data.")]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Folder of answers and scores of a model that is no run; default evaluations/NAME-HASH."
    ),
]

Again = Annotated[
    bool, typer.Option("--again", help="Replace answers that are kept, also those of another model or data.")
]
Devices = Annotated[
    int, typer.Option(min=1, help="Processes on this machine that divide the clips; torchrun works too.")
]


def evaluate(
    model: ModelPath,
    overrides: EvaluationOverrides = None,
    benchmarks: Benchmarks = None,
    source: Sources = None,
    task: Tasks = None,
    metrics: Metrics = None,
    prompt: Prompts = None,
    question: Question = None,
    stage: Stage = None,
    name: Name = None,
    max_clips: MaxClips = None,
    max_new_tokens: MaxNewTokens = 256,
    data_dir: DataDir = None,
    out: Out = None,
    devices: Devices = 1,
    again: Again = False,
    as_json: Json = False,
    trust_code: TrustCode = False,
) -> None:
    """Evaluate a model without training it: a run on its benchmarks or on others, or any model folder on named clips.

    Of a run, only predictions/ and scores.json change. A killed evaluation continues where it was when the command is repeated;
    answers of another model, data, decoding or code are refused by name.

    Examples: `audio-lm evaluate runs/demo-1a2b3c4d` ·
    `audio-lm evaluate runs/demo-1a2b3c4d --benchmarks synthetic --devices 2` ·
    `audio-lm evaluate Qwen2-Audio-7B --benchmarks synthetic --max-clips 100 --json` ·
    `audio-lm evaluate runs/demo-1a2b3c4d --source fsdd/single-test --task asr --prompt tags,natural` ·
    `audio-lm evaluate Qwen2-Audio-7B --source fsdd/single-test --task asr --metrics wer` ·
    `audio-lm evaluate runs/demo-1a2b3c4d use.benchmarks=spoken_digits data_dir=fsdd_data --benchmarks single` ·
    `audio-lm evaluate runs/demo-1a2b3c4d 'evaluation.benchmarks.notes={source: synthetic/notes-train, task: mna, metrics:
    [pitch_acc], prompt: tags, stage: pretrain}'`
    """
    silence_libraries()
    _become_ranks(devices)
    suites, console = benchmarks or [], _console(is_stderr=as_json)
    is_named = any((source, task, metrics, prompt, question, name, max_clips and not suites))
    if not is_named and _is_run_of_evaluation(model, stage=stage, out=out, has_suite=bool(suites)):
        from audio_lm.run.evaluate import evaluate as evaluate_run

        settings = [*(overrides or []), *([f"data_dir={data_dir}"] if data_dir else [])]
        scores = evaluate_run(
            Path(model), console, overrides=settings, benchmarks=suites, max_clips=max_clips, again=again,
            trusts_code=trust_code,
        )  # fmt: skip
    else:
        _refuse_recipe_settings([*(overrides or []), *(suites if is_named else [])])
        from audio_lm.run import evaluate_model as run
        from audio_lm.run.named_benchmarks import BenchmarkOptions

        places: Any = {"data_dir": data_dir, "out": out, "again": again, "console": console}
        if suites:
            scores = run.evaluate_suites(model, suites, max_clips=max_clips, **places)
        else:
            names = (_names(source), _names(task), _names(metrics), _names(prompt))
            options = BenchmarkOptions(*names, question, name, max_clips, max_new_tokens)
            scores = run.evaluate_model(model, options, stage=stage, trusts_code=trust_code, **places)
    if as_json:
        _print_scores(model, scores)


def _console(*, is_stderr: bool) -> "Console":
    from audio_lm.run.console import run_console

    return run_console(is_stderr=is_stderr)


def _refuse_recipe_settings(given: Sequence[str]) -> None:
    """Raise for settings of a recipe beside options that name clips."""
    if given:
        raise UserError(
            f"{given[0]} belongs to the recipe of a run and not to --source and --task; give one of the two"
        )


def _print_scores(model: str, scores: Mapping[str, float]) -> None:
    """Print the scores as JSON, on the first rank."""
    from audio_lm.evaluation.report import with_finite_numbers

    if is_main():
        record = {"model": model, "scores": with_finite_numbers(dict(scores))}
        typer.echo(json.dumps(record, indent=1, ensure_ascii=False))


def _become_ranks(devices: int) -> None:
    """Start the command again as several ranks, where several devices were named."""
    from audio_lm.fault_tolerance.torchrun import exec_torchrun, needs_torchrun

    if needs_torchrun(devices, num_nodes=1):
        exec_torchrun(devices, sys.argv[1:])


def _is_run_of_evaluation(model: str, *, stage: str | None, out: Path | None, has_suite: bool) -> bool:
    """True for a run to evaluate on its own benchmarks.

    Raises:
        UserError: there is no such folder, or an option has no effect.
    """
    if not Path(model).exists() and not has_suite:
        raise UserError(
            f"{model} does not exist; name the folder of a run, or a model with --source and --task"
        )
    from audio_lm.run.load_model import is_run

    if not is_run(model):
        return False
    if unused := [option for option, value in {"--stage": stage, "--out": out}.items() if value is not None]:
        raise UserError(f"{unused[0]} has no effect without --source and --task; add them, or leave it out")
    return True


def _names(values: list[str] | None) -> list[str]:
    """Names of an option that takes several, separated by commas."""
    return [name.strip() for value in values or () for name in value.split(",")]


def score(
    run: ScoredPath,
    details: Details = False,
    metrics: FileMetrics = None,
    language: FileLanguage = None,
    as_json: Annotated[bool, typer.Option("--json", help="Of a file: print JSON.")] = False,
) -> None:
    """Compute the scores of saved predictions again, or those of another system's file, without a model.

    Examples: `audio-lm score runs/demo-1a2b3c4d` · `audio-lm score evaluations/exported-1a2b3c4d --details` ·
    `audio-lm score mmau-test-mini.json` · `audio-lm score answers.csv --metrics wer,cer --language en`
    """
    silence_libraries()
    if run.is_dir():
        if unused := [option for option, value in _options_of_a_file(metrics, language, as_json) if value]:
            raise UserError(
                f"{unused[0]} has no effect on a run; leave it out, or name a file of predictions"
            )
        from audio_lm.run.scores import rescore

        rescore(run, details=details)
        return
    if details:
        raise UserError("--details has no effect on a file; leave it out, or name the folder of a run")
    from audio_lm.run.score_file import print_score

    print_score(run, metrics=_names(metrics), language=language, as_json=as_json)


def _options_of_a_file(metrics: Names, language: str | None, as_json: bool) -> list[tuple[str, object]]:
    return [("--metrics", metrics), ("--language", language), ("--json", as_json)]


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="Folders of runs, or of evaluations of other models.",
            autocompletion=known_runs,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for report.md, report.html, report.json and radar.png; logged in MLflow too."
        ),
    ] = None,
    details: Details = False,
    as_json: Json = False,
) -> None:
    """Print scores with 95 % intervals, beside those of baselines, controls and publications; compare runs.

    Missing scores are listed with their reason. Of several runs, each is compared with the first on the clips that both have
    answered; a difference whose paired interval contains 0 is called noise.

    Examples: `audio-lm report runs/demo-1a2b3c4d` · `audio-lm report runs/demo-1a2b3c4d --details` ·
    `audio-lm report runs/demo-1a2b3c4d runs/demo-5e6f7a8b --out report` · `audio-lm report runs/demo-1a2b3c4d --json`
    """
    silence_libraries()
    from audio_lm.run.report_runs import report_runs

    report_runs(runs, out=out, details=details, as_json=as_json)
