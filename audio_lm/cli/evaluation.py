"""Commands that evaluate a run and print its scores."""

from typing import Annotated

import typer

from audio_lm.cli.library_messages import silence_libraries
from audio_lm.cli.options import EvaluationOverrides, RunPath, TrustCode


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


def score(run: RunPath) -> None:
    """Compute the scores of a run's saved predictions again, without a model.

    Example: `audio-lm score runs/demo-1a2b3c4d`
    """
    silence_libraries()
    from audio_lm.run.scores import rescore

    rescore(run)


def report(run: RunPath) -> None:
    """Print the results table of a run: its scores, those of the untrained model, and published scores.

    Example: `audio-lm report runs/demo-1a2b3c4d`
    """
    silence_libraries()
    from audio_lm.run.scores import report as print_report

    print_report(run)
