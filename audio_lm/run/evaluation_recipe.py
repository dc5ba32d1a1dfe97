"""Recipe of a run with benchmarks from the command line, for an evaluation that does not change the run."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from audio_lm.common.errors import RecipeError
from audio_lm.common.safe_yaml import COMMAND_LINE
from audio_lm.common.source_name import corpus_of
from audio_lm.config.build import place_of
from audio_lm.config.checks import check_data_dir
from audio_lm.config.load import PUBLISHED, ComposedRecipe, load_recipe
from audio_lm.config.overrides import key_of_override
from audio_lm.config.result_keys import affects_result
from audio_lm.config.schema import Recipe
from audio_lm.config.yaml_layers import Layer
from audio_lm.evaluation.definitions import read_definitions
from audio_lm.run.folder import RunFolder
from audio_lm.run.suites import notes_on_suites, published_scores, split_names, suite_of_run

READ = (
    "evaluation",
    "published",
    "hardware",
    "data_dir",
    "cache_dir",
    "audio_roots",
    "use.benchmarks",
    "use.hardware",
)
"""Tables and keys of a recipe that an evaluation reads and that decide no result."""

CORPORA, BENCHMARKS, TASKS = "corpora", "evaluation.benchmarks", "tasks"
EXTENDABLE = (f"{BENCHMARKS}.", "published.", f"{CORPORA}.", f"{TASKS}.")
"""Tables in which an evaluation may add entries without ``+``."""


def recipe_to_evaluate(
    folder: RunFolder,
    overrides: Sequence[str],
    benchmarks: Sequence[str],
    *,
    max_clips: int | None = None,
    trusts_code: bool = False,
) -> tuple[Recipe, list[str], list[str]]:
    """Recipe of a run with the overrides of a command line, the benchmarks to evaluate, and notes on those left out.

    Args:
        overrides: ``key=value`` for keys that decide no result.
        max_clips: of each benchmark of a suite.
        benchmarks: names of benchmarks or suites, comma-separated; by default those in the overrides, or else all of the
            run's recipe.
        trusts_code: as of ``load_recipe``.

    Raises:
        RecipeError: an override is not one of an evaluation, a benchmark is unknown, or the recipe, which may come
            from elsewhere, sets ``data_dir`` outside the run folder and the working directory.
    """
    own = load_recipe(folder.recipe, is_complete=True, trusts_code=trusts_code).recipe
    for override in overrides:
        _check_override(key_of_override(override), own, folder.path)

    def compose(further: Sequence[str] = ()) -> ComposedRecipe:
        return load_recipe(
            folder.recipe,
            [_with_plus(override) for override in (*overrides, *further)],
            is_complete=True,
            trusts_code=trusts_code,
            below=_benchmarks_of_earlier_evaluations(folder),
        )

    composed = compose()
    notes = list(composed.notes)
    chosen, suites = split_names(benchmarks, composed.recipe.evaluation.benchmarks)
    if suites:
        tables, left_out = suite_of_run(suites, own, folder, max_clips)
        notes += [*notes_on_suites(suites), *left_out]
        published = {name: scores for name, scores in published_scores(suites).items() if name in tables}
        scores = [f"{PUBLISHED}={json.dumps(published)}"] if published else []
        composed = compose([f"{BENCHMARKS}={json.dumps(tables)}", *scores])
        chosen += tables
    if place_of(composed.where, "data_dir") != COMMAND_LINE:
        check_data_dir(own, (Path.cwd(), folder.path.absolute()))
    known = composed.recipe.evaluation.benchmarks
    _check_kept([*own.evaluation.benchmarks, *read_definitions(folder.predictions)], known)
    if suites and not chosen:
        raise RecipeError(f"{'; '.join(notes)}; finish that stage with `audio-lm train ... resume=auto`")
    chosen = chosen or [*_from_command(composed)] or [*own.evaluation.benchmarks]
    return composed.recipe, list(dict.fromkeys(chosen)), notes


def only_benchmarks(recipe: Recipe, names: Sequence[str]) -> Recipe:
    """Copy of a recipe that has only some of its benchmarks."""
    benchmarks = {name: recipe.evaluation.benchmarks[name] for name in names}
    return replace(recipe, evaluation=replace(recipe.evaluation, benchmarks=benchmarks))


def _check_override(key: str, own: Recipe, run: Path) -> None:
    """Check that an override decides no result of the run, and that an evaluation reads it."""
    if _is_below(key, READ) or _is_untrained_corpus(key, own) or _is_untrained_task(key, own):
        return
    if affects_result(key) or _is_below(key, ("use",)):
        raise RecipeError(
            f"{COMMAND_LINE}: `{key}` decides the result of this run, {run}, which an evaluation cannot change -- "
            f"remove it, or train another run with it"
        )
    raise RecipeError(
        f"{COMMAND_LINE}: `{key}` is not read by an evaluation -- expected a key of {', '.join(READ)}, or the corpus or "
        f"the task of a benchmark -- remove it"
    )


def _check_kept(names: Sequence[str], known: Collection[str]) -> None:
    """Check that no benchmark of the run is removed; another one could otherwise overwrite its scores."""
    if removed := [name for name in names if name not in known]:
        raise RecipeError(
            f"{COMMAND_LINE}: benchmark {removed[0]!r} of this run is removed, but its scores are kept -- choose the "
            f"benchmarks to evaluate with --benchmarks"
        )


def _is_below(key: str, tables: Sequence[str]) -> bool:
    return any(key == table or key.startswith(f"{table}.") for table in tables)


def _is_untrained_corpus(key: str, own: Recipe) -> bool:
    """True if a key belongs to a corpus that no stage is trained on."""
    trained = {
        corpus_of(source)
        for stage in own.stages.values()
        for sources in stage.mixture.sources.values()
        for source in sources
    }
    table, _, name = key.partition(".")
    return table == CORPORA and bool(name) and not any(_is_below(name, (corpus,)) for corpus in trained)


def _is_untrained_task(key: str, own: Recipe) -> bool:
    """True if a key belongs to a task of the recipe's own that no stage is trained on."""
    trained = {task for stage in own.stages.values() for task in stage.mixture.sources}
    table, _, name = key.partition(".")
    return table == TASKS and bool(name) and not any(_is_below(name, (task,)) for task in trained)


def _with_plus(override: str) -> str:
    return f"+{override}" if override.startswith(EXTENDABLE) else override


def _benchmarks_of_earlier_evaluations(folder: RunFolder) -> Layer:
    """Layer below the run's recipe with the benchmarks that earlier evaluations added."""
    definitions = read_definitions(folder.predictions)
    benchmarks = {name: asdict(definition.benchmark) for name, definition in definitions.items()}
    published = {
        name: dict(definition.published) for name, definition in definitions.items() if definition.published
    }
    tasks = {
        definition.benchmark.task: asdict(definition.own_task)
        for definition in definitions.values()
        if definition.own_task is not None
    }
    return Layer({"evaluation": {"benchmarks": benchmarks}, "published": published, TASKS: tasks})


def _from_command(composed: ComposedRecipe) -> Iterator[str]:
    """Benchmarks with a setting from the command line, or from a file of ``conf/`` that it names."""
    for name in composed.recipe.evaluation.benchmarks:
        if any(map(_is_from_command, _places_below(composed.where, f"{BENCHMARKS}.{name}"))):
            yield name


def _places_below(where: Mapping[str, str], table: str) -> Iterator[str]:
    yield from (place for key, place in where.items() if _is_below(key, (table,)))


def _is_from_command(place: str) -> bool:
    return place == COMMAND_LINE or place.startswith("conf/benchmarks/")
