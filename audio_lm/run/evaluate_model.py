"""Evaluation of any model on named clips: of a run, or of a published folder without a recipe. Nothing is trained."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from audio_lm.common.errors import RecipeError, UserError
from audio_lm.common.files import read_table, write_json
from audio_lm.config.load import load_recipe
from audio_lm.config.schema import Recipe, StageConfig
from audio_lm.data.config import MixtureConfig
from audio_lm.evaluation.benchmarks import check_benchmark
from audio_lm.evaluation.config import BenchmarkConfig, EvaluationConfig
from audio_lm.pipeline.benchmark_data import check_benchmarks
from audio_lm.prompts import tags
from audio_lm.prompts.natural import QWEN2_AUDIO_PREFIX
from audio_lm.run.answering import evaluation_ranks
from audio_lm.run.console import run_console
from audio_lm.run.evaluate import evaluate
from audio_lm.run.evaluation_recipe import only_benchmarks
from audio_lm.run.evaluator import Evaluator
from audio_lm.run.folder import RunFolder, check_writable
from audio_lm.run.load_model import (
    PublishedModel,
    check_prompt,
    choose_stage,
    is_run,
    missing_tokens,
    open_published,
)
from audio_lm.run.named_benchmarks import BenchmarkOptions
from audio_lm.run.suites import (
    leave_out_unusable,
    notes_on_suites,
    published_scores,
    read_suite,
    split_names,
    with_prompt,
)
from audio_lm.tasks.registry import CHAT, find_task

EVALUATIONS = Path("evaluations")
FILE = "evaluation.json"
STAGE = "model"  # name of the only stage of a model without a recipe


def evaluate_model(
    path: str | Path,
    options: BenchmarkOptions,
    *,
    stage: str | None = None,
    data_dir: str | None = None,
    out: Path | None = None,
    console: Console | None = None,
    again: bool = False,
    trusts_code: bool = False,
) -> dict[str, float]:
    """Evaluate a run, a Qwen2-Audio or Qwen-Audio folder, or a hub name on named clips.

    Answers and scores of a run are added to its folder. Those of another model are in a folder of their own.

    Args:
        stage: of a run; by default the last that was trained with the task, or else the last.
        data_dir: folder of the cut-sets; by default that of the run's recipe, or ``data``.
        out: folder for answers and scores; by default ``evaluations/<name>-<hash>``. For a run, its folder.

    Returns:
        All scores in the folder: ``<benchmark>/<metric>`` -> value.

    Raises:
        UserError: the model, the clips or a metric is missing, or the model has no tokens for a prompt.
    """
    console = console or run_console()
    if is_run(path):
        if out is not None:
            raise UserError(
                f"--out {out} has no effect, because the scores of a run are in its folder; leave it out"
            )
        overrides = _overrides(Path(path), options, stage, data_dir)
        return evaluate(Path(path), console, overrides=overrides, again=again, trusts_code=trusts_code)
    if stage is not None:
        raise UserError(f"{path} is no run, so it has no stage {stage!r}; leave the stage out")
    published = open_published(str(path))
    benchmarks = {
        name: benchmark
        for task in options.tasks
        for name, benchmark in options.benchmarks(task, stage=STAGE, prompt=published.prompt)
    }
    return _evaluate_published(published, benchmarks, data_dir or "data", out, console, again=again)


def evaluate_suites(
    path: str,
    suites: Sequence[str],
    *,
    max_clips: int | None = None,
    data_dir: str | None = None,
    out: Path | None = None,
    console: Console | None = None,
    again: bool = False,
) -> dict[str, float]:
    """Evaluate a published folder or a hub name on the benchmarks of suites.

    Its own prompt format replaces one for whose tokens it has no embeddings.

    Raises:
        UserError: the model, a suite or its clips are missing.
    """
    published = open_published(path)
    benchmarks = {}
    suites = split_names(suites, {})[1]
    for suite in suites:
        for name, benchmark in read_suite(suite).items():
            is_known = benchmark.prompt == published.prompt or not missing_tokens(
                published.vocabulary, benchmark.prompt
            )
            benchmark = with_prompt(benchmark, benchmark.prompt if is_known else published.prompt)
            benchmarks[name] = replace(benchmark, stage=STAGE, max_clips=max_clips or benchmark.max_clips)
    console = console or run_console()
    for note in notes_on_suites(suites):
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    return _evaluate_published(
        published,
        benchmarks,
        data_dir or "data",
        out,
        console,
        again=again,
        scores=published_scores(suites),
        is_suite=True,
    )


def _overrides(path: Path, options: BenchmarkOptions, stage: str | None, data_dir: str | None) -> list[str]:
    """Overrides of the run's recipe that add the benchmarks."""
    folder = RunFolder(path)
    recipe = load_recipe(folder.recipe, is_complete=True, trusts_code=True).recipe  # no model is loaded
    table = {}
    for task in options.tasks:
        chosen = choose_stage(recipe, folder, stage, task)
        for name, benchmark in options.benchmarks(
            task, stage=chosen, prompt=recipe.stages[chosen].prompt, tasks=recipe.task_table
        ):
            table[name] = asdict(benchmark)
    added = f"evaluation.benchmarks={json.dumps(table)}"
    return [added] if data_dir is None else [added, f"data_dir={data_dir}"]


def _evaluate_published(
    published: PublishedModel,
    benchmarks: Mapping[str, BenchmarkConfig],
    data_dir: str,
    out: Path | None,
    console: Console,
    *,
    again: bool,
    scores: Mapping[str, dict[str, float]] | None = None,
    is_suite: bool = False,
) -> dict[str, float]:
    benchmarks = {name: _in_its_words(benchmark, published) for name, benchmark in benchmarks.items()}
    recipe = _recipe(published, benchmarks, scores or {}, data_dir)
    for name in benchmarks:
        check_benchmark(name, recipe.evaluation)
    checks = (partial(_check_tokens, published=published), check_benchmarks)
    names, notes = leave_out_unusable(recipe, [*benchmarks], benchmarks if is_suite else (), checks)
    recipe = only_benchmarks(recipe, names)
    console.print(
        f"{published.source}: {published.prompt} is the prompt format of its training", soft_wrap=True
    )
    for note in notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    with evaluation_ranks(recipe) as groups:
        with groups.main_first():
            folder = _open_folder(published, out)
        evaluator = Evaluator(
            recipe,
            folder,
            published.vocabulary,
            console,
            again=again,
            model_digest=published.digest,
            wait=groups.wait,
        )
        evaluator.evaluate_stage(published.load(), STAGE, names)
        evaluator.finish()
    return evaluator.scores


def _recipe(
    published: PublishedModel,
    benchmarks: dict[str, BenchmarkConfig],
    scores: Mapping[str, dict[str, float]],
    data_dir: str,
) -> Recipe:
    """Recipe of one stage without training data."""
    stage = StageConfig(prompt=published.prompt, mixture=MixtureConfig(), parts={}, steps=1)
    return Recipe(
        name=Path(published.source).name,
        stages={STAGE: stage},
        model=published.config,
        evaluation=EvaluationConfig(benchmarks),
        published={name: scores[name] for name in benchmarks if name in scores},
        data_dir=data_dir,
    )


def _in_its_words(benchmark: BenchmarkConfig, published: PublishedModel) -> BenchmarkConfig:
    """The benchmark with the prompt that Qwen2-Audio was published with, where its task has one.

    A recipe evaluates with a paraphrase that its training never draws; a published model has no such paraphrase.
    """
    if benchmark.question is not None or benchmark.prompt == "tags" or benchmark.task == CHAT:
        return benchmark
    prompts = find_task(benchmark.task).prompts
    own = [
        prompt.removeprefix(QWEN2_AUDIO_PREFIX) for prompt in prompts if prompt.startswith(QWEN2_AUDIO_PREFIX)
    ]
    return replace(benchmark, question=(own or prompts)[0])


def _check_tokens(recipe: Recipe, *, published: PublishedModel) -> None:
    for name, benchmark in recipe.evaluation.benchmarks.items():
        check_prompt(published.vocabulary, benchmark.prompt, source=published.source)
        if benchmark.prompt == "tags" and benchmark.task != CHAT:
            try:
                tags.check_tags(find_task(benchmark.task), published.own_tokens)
            except RecipeError as error:
                raise RecipeError(f"benchmark {name!r}: {error}") from error


def _open_folder(published: PublishedModel, out: Path | None) -> RunFolder:
    """Folder of the evaluation; benchmarks of the same model are added to it.

    Raises:
        UserError: it holds something else, or the evaluation of another model.
    """
    digest = published.digest
    path = out or EVALUATIONS / f"{Path(published.source).name}-{digest}"
    known = read_table(path / FILE)
    if known.get("digest", digest) != digest or (not known and path.exists() and any(path.iterdir())):
        holder = f"the evaluation of {known.get('model')}" if known else "other files"
        raise UserError(f"{path} holds {holder}; name another folder with --out")
    folder = RunFolder(path)
    check_writable(folder)
    path.mkdir(parents=True, exist_ok=True)
    facts = {
        "model": str(Path(published.source).absolute())
        if Path(published.source).is_dir()
        else published.source
    }
    write_json(path / FILE, {**facts, "digest": digest, "audio_lm": version("audio-lm")})
    return folder
