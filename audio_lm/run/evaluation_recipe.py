"""The recipe of a run with benchmarks from a command line, for an evaluation that leaves the run as it is."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from audio_lm.common.errors import RecipeError, unknown
from audio_lm.common.safe_yaml import COMMAND_LINE
from audio_lm.common.source_name import corpus_of
from audio_lm.config.checks import check_data_dir, place_of
from audio_lm.config.load import ComposedRecipe, load_recipe
from audio_lm.config.overrides import key_of_override
from audio_lm.config.result_keys import affects_result
from audio_lm.config.schema import Recipe
from audio_lm.config.yaml_layers import Layer
from audio_lm.evaluation.definitions import read_definitions
from audio_lm.run.folder import RunFolder

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
"""Tables and keys of a recipe that an evaluation reads and that no result depends on."""

CORPORA, BENCHMARKS = "corpora", "evaluation.benchmarks"
NAMED = (f"{BENCHMARKS}.", "published.", f"{CORPORA}.")
"""Tables whose new entries need no ``+`` here: an evaluation is there to add them."""


def recipe_to_evaluate(
    folder: RunFolder, overrides: Sequence[str], benchmarks: Sequence[str], *, trusts_code: bool = False
) -> tuple[Recipe, list[str]]:
    """The recipe of a run with the overrides of a command line, and the benchmarks to ask.

    Args:
        overrides: ``key=value`` for keys that no result depends on.
        benchmarks: names, several with commas between them; none for those of the overrides, or else all of the
            run's recipe.
        trusts_code: as of ``load_recipe``.

    Raises:
        RecipeError: an override is of another kind, a benchmark is unknown, or the recipe, which may come from
            elsewhere, names another's folder for its data.
    """
    own = load_recipe(folder.recipe, is_complete=True, trusts_code=trusts_code).recipe
    for override in overrides:
        _check_override(key_of_override(override), own, folder.path)
    composed = load_recipe(
        folder.recipe,
        [_with_plus(override) for override in overrides],
        is_complete=True,
        trusts_code=trusts_code,
        below=_asked_before(folder),
    )
    if place_of(composed.where, "data_dir") != COMMAND_LINE:
        check_data_dir(own, (Path.cwd(), folder.path.absolute()))
    known = composed.recipe.evaluation.benchmarks
    _check_kept([*own.evaluation.benchmarks, *read_definitions(folder.predictions)], known)
    chosen = [name.strip() for names in benchmarks for name in names.split(",")]
    for name in chosen:
        if name not in known:
            raise RecipeError(unknown("benchmark", name, known, see=f"{folder.recipe} and conf/benchmarks/"))
    chosen = chosen or [*_from_command(composed)] or [*own.evaluation.benchmarks]
    return composed.recipe, list(dict.fromkeys(chosen))


def only_benchmarks(recipe: Recipe, names: Sequence[str]) -> Recipe:
    """The recipe with some of its benchmarks."""
    kept = {name: recipe.evaluation.benchmarks[name] for name in names}
    return replace(recipe, evaluation=replace(recipe.evaluation, benchmarks=kept))


def _check_override(key: str, own: Recipe, run: Path) -> None:
    """Refuse a key that would have made another run, or that no evaluation reads."""
    if _is_below(key, READ) or _is_untrained_corpus(key, own):
        return
    if affects_result(key) or _is_below(key, ("use",)):
        raise RecipeError(
            f"{COMMAND_LINE}: `{key}` decides the result of this run, {run}, which an evaluation leaves as it is -- "
            f"leave it out, or train another run with it"
        )
    raise RecipeError(
        f"{COMMAND_LINE}: `{key}` is not read by an evaluation -- expected a key of {', '.join(READ)}, or the corpus of a "
        f"benchmark -- leave it out"
    )


def _check_kept(names: Sequence[str], known: Collection[str]) -> None:
    """Refuse to take a benchmark away: another one could then take the place of its scores."""
    if gone := [name for name in names if name not in known]:
        raise RecipeError(
            f"{COMMAND_LINE}: benchmark {gone[0]!r} of this run is taken away, and its scores are kept -- choose the "
            f"benchmarks to evaluate with --benchmarks"
        )


def _is_below(key: str, tables: Sequence[str]) -> bool:
    return any(key == table or key.startswith(f"{table}.") for table in tables)


def _is_untrained_corpus(key: str, own: Recipe) -> bool:
    """Whether a key is of a corpus that no stage was trained on."""
    trained = {
        corpus_of(source)
        for stage in own.stages.values()
        for sources in stage.mixture.sources.values()
        for source in sources
    }
    table, _, name = key.partition(".")
    return table == CORPORA and bool(name) and not any(_is_below(name, (one,)) for one in trained)


def _with_plus(override: str) -> str:
    return f"+{override}" if override.startswith(NAMED) else override


def _asked_before(folder: RunFolder) -> Layer:
    """Benchmarks that earlier evaluations named, for the run's recipe to lie over."""
    kept = read_definitions(folder.predictions)
    benchmarks = {name: asdict(one.benchmark) for name, one in kept.items()}
    published = {name: dict(one.published) for name, one in kept.items() if one.published}
    return Layer({"evaluation": {"benchmarks": benchmarks}, "published": published})


def _from_command(composed: ComposedRecipe) -> Iterator[str]:
    """Benchmarks of which anything stands on the command line, or in a piece of ``conf/`` that it names."""
    for name in composed.recipe.evaluation.benchmarks:
        if any(map(_is_from_command, _places_below(composed.where, f"{BENCHMARKS}.{name}"))):
            yield name


def _places_below(where: Mapping[str, str], table: str) -> Iterator[str]:
    yield from (place for key, place in where.items() if _is_below(key, (table,)))


def _is_from_command(place: str) -> bool:
    return place == COMMAND_LINE or place.startswith("conf/benchmarks/")
