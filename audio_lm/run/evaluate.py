"""Evaluation of a finished run: its benchmarks, others, or suites, over one rank or several."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from rich.console import Console

from audio_lm.config.schema import Recipe
from audio_lm.model.weights.parts import load_weights
from audio_lm.pipeline.benchmark_data import check_benchmarks
from audio_lm.pipeline.corpora import prepare_corpora, reading_corpora
from audio_lm.pipeline.model import build_audio_lm
from audio_lm.pipeline.vocabulary import check_benchmark_tags
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.run.answering import (
    evaluation_ranks,
)
from audio_lm.run.console import run_console
from audio_lm.run.evaluation_recipe import only_benchmarks, recipe_to_evaluate
from audio_lm.run.evaluator import Evaluator
from audio_lm.run.load_model import on_device
from audio_lm.run.open import kept_vocabulary, open_run
from audio_lm.run.suites import leave_out_unusable


def evaluate(
    path: Path,
    console: Console | None = None,
    *,
    overrides: Sequence[str] = (),
    benchmarks: Sequence[str] = (),
    max_clips: int | None = None,
    again: bool = False,
    trusts_code: bool = False,
) -> dict[str, float]:
    """Evaluate the models of a run; writes answers, their definitions and scores.

    Args:
        overrides: of the command line; see ``evaluation_recipe``.
        benchmarks: names of benchmarks or suites; by default those in the overrides, or else all of the run's recipe.
        max_clips: of each benchmark of a suite.
        again: answer benchmarks again whose answers are kept.

    Returns:
        All scores of the run: ``<benchmark>/<metric>`` -> value.

    Raises:
        RecipeError: an override is not one of an evaluation, a benchmark is unknown, or the recipe, which may come
            from elsewhere, sets ``data_dir`` outside the run folder and the working directory.
        CheckpointError: the stage of a named benchmark has no weights.
        DataError: a benchmark was answered by another model; names the file.
    """
    console = console or run_console()
    folder = open_run(path, trusts_code=True)[1]
    recipe, chosen, notes = recipe_to_evaluate(
        folder, overrides, benchmarks, max_clips=max_clips, trusts_code=trusts_code
    )
    for note in notes:
        console.print(note, highlight=False)
    with evaluation_ranks(recipe) as groups, ExitStack() as stack:
        with groups.main_first():
            prepare_corpora(recipe, console.print)
        stack.enter_context(reading_corpora(recipe))
        vocabulary = kept_vocabulary(recipe, folder)
        chosen = _usable(recipe, chosen, benchmarks, vocabulary, console)
        chosen_recipe = only_benchmarks(recipe, chosen)
        is_named = bool(overrides or benchmarks)
        used = {b.stage for b in chosen_recipe.evaluation.benchmarks.values()}
        stages = [name for name in recipe.stages if name in used]
        stages = [name for name in stages if is_named or folder.model(name).is_dir()]
        for name in stages:
            folder.check_model(name)
        model = build_audio_lm(recipe, vocabulary)
        if recipe.hardware.accelerator == "gpu":
            model = on_device(model)
        evaluator = Evaluator(recipe, folder, vocabulary, console, again=again, wait=groups.wait)
        for stage in stages:
            table = chosen_recipe.evaluation.benchmarks
            load_weights(model, folder.model(stage))
            evaluator.evaluate_stage(model, stage, [name for name in table if table[name].stage == stage])
        evaluator.finish()
    return evaluator.scores


def _usable(
    recipe: Recipe, chosen: Sequence[str], options: Sequence[str], vocabulary: Vocabulary, console: Console
) -> list[str]:
    """Benchmarks that can be evaluated, with a line about each one of a suite that is left out.

    Args:
        options: names of the command line; the others that were chosen are of suites.
    """
    named = [name.strip() for value in options for name in value.split(",")]
    of_suites = [name for name in chosen if named and name not in named]
    checks = (check_benchmarks, partial(check_benchmark_tags, vocabulary=vocabulary))
    kept, left_out = leave_out_unusable(recipe, chosen, of_suites, checks)
    for note in left_out:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    return kept
