"""Suites: the sets of benchmarks in ``conf/benchmarks/``, evaluated with any model."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

from audio_lm.common.errors import RecipeError, UserError, unknown
from audio_lm.common.files import dataclass_from
from audio_lm.common.names import is_name
from audio_lm.config.load import PUBLISHED
from audio_lm.config.resources import Resource, find_resource, resource_names, unknown_resource
from audio_lm.config.schema import Recipe
from audio_lm.config.yaml_layers import read_layer
from audio_lm.data.examples import Prompt
from audio_lm.evaluation.config import BenchmarkConfig
from audio_lm.run.folder import RunFolder
from audio_lm.run.load_model import choose_stage


def suite_names() -> list[str]:
    """Names of all suites."""
    return resource_names("conf", "benchmarks")


def split_names(values: Sequence[str], known: Mapping[str, object]) -> tuple[list[str], list[str]]:
    """Names of benchmarks and of suites among those of a command line; a benchmark comes first.

    Args:
        values: names, comma-separated.
        known: benchmarks of the run.

    Raises:
        RecipeError: a name is neither.
    """
    names = [name.strip() for value in values for name in value.split(",")]
    suites = suite_names()
    for name in names:
        if name not in known and name not in suites:
            raise RecipeError(unknown("benchmark or suite", name, [*known, *suites], see="conf/benchmarks/"))
    return [name for name in names if name in known], [name for name in names if name not in known]


def read_suite(name: str) -> dict[str, BenchmarkConfig]:
    """Benchmarks of a suite.

    Raises:
        RecipeError: there is no such suite, or it is invalid.
    """
    path = _path(name)
    table: Any = read_layer(path).tree.get("benchmarks", {})
    found = {}
    for benchmark, entry in table.items() if isinstance(table, dict) else ():
        config = dataclass_from(BenchmarkConfig, entry) if isinstance(entry, dict) else None
        if config is None:
            raise RecipeError(
                f"{path}: benchmark {benchmark!r} lacks a key -- expected source, task, metrics, prompt and stage -- "
                f"add it"
            )
        found[str(benchmark)] = config
    return found


def notes_on_suites(names: Sequence[str]) -> list[str]:
    """Notes on suites of the working folder that are used instead of ours of the same name."""
    return [note for name in names if (note := _find(name).note)]


def _path(name: str) -> Path:
    return _find(name).path


def _find(name: str) -> Resource:
    found = find_resource("conf", f"benchmarks/{name}") if is_name(name) else None
    if found is None:
        raise RecipeError(unknown_resource("conf", "suite", name, "benchmarks"))
    return found


def with_prompt(benchmark: BenchmarkConfig, prompt: Prompt) -> BenchmarkConfig:
    """Benchmark in another prompt format, without the settings that only its own has."""
    is_ordered = benchmark.ordered_stamps and prompt == "tags"
    return replace(benchmark, prompt=prompt, ordered_stamps=is_ordered)


def published_scores(names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Published scores of the benchmarks of suites; benchmark -> metric -> score."""
    found: dict[str, dict[str, float]] = {}
    for name in names:
        table: Any = read_layer(_path(name)).tree.get(PUBLISHED, {})
        for benchmark, scores in table.items():
            found[str(benchmark)] = {metric: float(score) for metric, score in scores.items()}
    return found


def suite_of_run(
    names: Sequence[str], recipe: Recipe, folder: RunFolder, max_clips: int | None = None
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Benchmarks of suites for a run, and a line about each that its weights cannot answer.

    A stage that the run does not have is replaced by the last that was trained with the task.
    """
    tables, notes = {}, []
    for name, benchmark in _all(names):
        stage = benchmark.stage
        if stage not in recipe.stages:
            stage = choose_stage(recipe, folder, None, benchmark.task)
            benchmark = with_prompt(benchmark, recipe.stages[stage].prompt)
        elif not folder.model(stage).is_dir():
            notes.append(f"{name}: left out, stage {stage} of {folder.path} has no weights")
            continue
        tables[name] = asdict(replace(benchmark, stage=stage, max_clips=max_clips or benchmark.max_clips))
    return tables, notes


class Check(Protocol):
    """Function that refuses a recipe whose benchmarks cannot be evaluated."""

    def __call__(self, recipe: Recipe, /) -> object: ...


def leave_out_unusable(
    recipe: Recipe, names: Sequence[str], of_suites: Collection[str], checks: Sequence[Check]
) -> tuple[list[str], list[str]]:
    """Names of the benchmarks to evaluate, and a line about each that is left out, because its clips or a package are missing.

    A suite has many corpora, and some of them are here; a benchmark that was named itself must be usable.

    Raises:
        UserError: a named benchmark, or every one of the suites, cannot be evaluated.
    """
    kept, notes = [], []
    for name in names:
        try:
            for check in checks:
                check(only_benchmark(recipe, name))
        except UserError as error:
            if name not in of_suites:
                raise
            notes.append(f"left out: {error}")
        else:
            kept.append(name)
    if not kept:
        raise UserError(
            f"none of {len(names)} benchmarks can be evaluated: {notes[0].removeprefix('left out: ')}"
        )
    return kept, notes


def only_benchmark(recipe: Recipe, name: str) -> Recipe:
    """Copy of a recipe that has only one of its benchmarks."""
    benchmarks = {name: recipe.evaluation.benchmarks[name]}
    return replace(recipe, evaluation=replace(recipe.evaluation, benchmarks=benchmarks))


def _all(names: Sequence[str]) -> Iterator[tuple[str, BenchmarkConfig]]:
    for name in names:
        yield from read_suite(name).items()
