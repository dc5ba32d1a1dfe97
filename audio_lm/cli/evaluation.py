"""Commands that evaluate a model and print its scores."""

from pathlib import Path
from typing import Annotated

import typer

from audio_lm.cli.library_messages import silence_libraries
from audio_lm.cli.options import EvaluationOverrides, TrustCode
from audio_lm.common.errors import UserError

ResultsPath = Annotated[
    Path, typer.Argument(metavar="RUN", help="Folder of a run, or of an evaluation of another model.")
]
Details = Annotated[
    bool, typer.Option("--details", help="Print confusion tables and the range over the speakers as well.")
]


def evaluate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Run, exported or published model folder, or a hub name.")
    ],
    overrides: EvaluationOverrides = None,
    benchmarks: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME,...", help="Of a run: evaluate only these; may be repeated."),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(metavar="CORPUS/SUBSET-SPLIT,...", help="Clips to answer; may be repeated."),
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option(metavar="TASK,...", help="Task of these clips; may be repeated.")
    ] = None,
    metrics: Annotated[
        list[str] | None, typer.Option(metavar="METRIC,...", help="Metrics; default those of the task.")
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(metavar="FORMAT,...", help="tags, natural or chatml; default that of the training."),
    ] = None,
    question: Annotated[
        str | None, typer.Option(help="Question in words, instead of that of the task.")
    ] = None,
    stage: Annotated[
        str | None, typer.Option(help="Stage of a run; default the last that was trained with the task.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the benchmark; default CORPUS/SUBSET-SPLIT/TASK.")
    ] = None,
    max_clips: Annotated[int | None, typer.Option(min=1, help="Answer only the first clips.")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Maximum length of an answer.")] = 256,
    data_dir: Annotated[
        str | None, typer.Option(help="Folder of cut-sets; default that of the run, or data.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of answers and scores of a model that is no run; default evaluations/NAME-HASH."
        ),
    ] = None,
    trust_code: TrustCode = False,
) -> None:
    """Evaluate a model without training it: a run on its benchmarks or on others, or any model folder on named clips.

    Of a run, only predictions/ and scores.json change.

    Examples: `audio-lm evaluate runs/demo-1a2b3c4d` ·
    `audio-lm evaluate runs/demo-1a2b3c4d --benchmarks digits_asr,digits_srwt` ·
    `audio-lm evaluate runs/demo-1a2b3c4d --source fsdd/single-test --task asr --prompt tags,natural` ·
    `audio-lm evaluate Qwen2-Audio-7B --source fsdd/single-test --task asr --metrics wer` ·
    `audio-lm evaluate exported --source emodb/all-test --task ser --question "How does the speaker feel?"` ·
    `audio-lm evaluate runs/demo-1a2b3c4d use.benchmarks=spoken_digits data_dir=fsdd_data --benchmarks single` ·
    `audio-lm evaluate runs/demo-1a2b3c4d 'evaluation.benchmarks.notes={source: synthetic/notes-train, task: mna, metrics:
    [pitch_acc], prompt: tags, stage: pretrain}'`
    """
    silence_libraries()
    given = {"--source": source, "--task": task, "--metrics": metrics, "--prompt": prompt, "--name": name}
    used = [
        option
        for option, value in {**given, "--question": question, "--max-clips": max_clips}.items()
        if value
    ]
    if not used and not Path(model).exists():
        raise UserError(
            f"{model} does not exist; name the folder of a run, or a model with --source and --task"
        )
    if not used and _is_run(model):
        if extra := [
            option for option, value in {"--stage": stage, "--out": out}.items() if value is not None
        ]:
            raise UserError(
                f"{extra[0]} has no effect without --source and --task; add them, or leave it out"
            )
        from audio_lm.run.evaluate import evaluate as evaluate_run

        settings = [*(overrides or []), *([f"data_dir={data_dir}"] if data_dir else [])]
        evaluate_run(Path(model), overrides=settings, benchmarks=benchmarks or [], trusts_code=trust_code)
        return
    if overrides or benchmarks:
        named = (overrides or benchmarks or [""])[0]
        raise UserError(
            f"{named} belongs to the recipe of a run and not to --source and --task; give one of the two"
        )
    from audio_lm.run.evaluate_model import evaluate_model
    from audio_lm.run.named_benchmarks import BenchmarkOptions

    options = BenchmarkOptions(
        sources=_names(source),
        tasks=_names(task),
        metrics=_names(metrics),
        prompts=_names(prompt),
        question=question,
        name=name,
        max_clips=max_clips,
        max_new_tokens=max_new_tokens,
    )
    evaluate_model(model, options, stage=stage, data_dir=data_dir, out=out, trusts_code=trust_code)


def _is_run(model: str) -> bool:
    from audio_lm.run.load_model import is_run

    return is_run(model)


def _names(values: list[str] | None) -> list[str]:
    """Names of an option that takes several, separated by commas."""
    return [name.strip() for value in values or () for name in value.split(",")]


def score(run: ResultsPath, details: Details = False) -> None:
    """Compute the scores of saved predictions again, without a model.

    Examples: `audio-lm score runs/demo-1a2b3c4d` · `audio-lm score evaluations/exported-1a2b3c4d --details`
    """
    silence_libraries()
    from audio_lm.run.scores import rescore

    rescore(run, details=details)


def report(run: ResultsPath, details: Details = False) -> None:
    """Print the results table of a run or an evaluation: its scores, those of baselines, and published scores.

    Examples: `audio-lm report runs/demo-1a2b3c4d` · `audio-lm report runs/demo-1a2b3c4d --details`
    """
    silence_libraries()
    from audio_lm.run.scores import report as print_report

    print_report(run, details=details)
