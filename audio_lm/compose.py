"""How a recipe is read: pieces of ``conf/`` below it, overrides above it, every value with its origin.

    schema defaults < conf pieces named in ``use`` < the recipe < ``use.scale`` < the command line

All problems come out at once, each with the file and line it stands in. After
loading nobody sees an OmegaConf object, only frozen dataclasses.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from audio_lm.checkpoints.config import FEWEST
from audio_lm.errors import RecipeError, unknown
from audio_lm.evaluation.benchmarks import check_benchmark
from audio_lm.layers import (
    Layer,
    Tree,
    Where,
    drop,
    merge,
    merged_trees,
    nested,
    plain,
    read_layer,
    table_at,
    take_away,
)
from audio_lm.masking import harmless_variable, masked_tree
from audio_lm.model.config import LOG_MEL_KINDS
from audio_lm.published import with_sizes
from audio_lm.recipe import Recipe, with_words
from audio_lm.stand_ins import with_stand_ins
from audio_lm.tasks.registry import find_task

PACKAGE = Path(__file__).parent
COMMAND_LINE = "command line"
PIECE_OF_USE = {"model": "model", "hardware": "hardware", "benchmarks": "evaluation"}
NAMED_MIXTURES = ("mixture", "validation")
RUN_TIME = re.compile(
    r"(resume|only|data_dir|cache_dir|tracking|hardware|survival|stages\.[^.]+\.checkpoints)(\.|$)"
)
OPEN_TABLES = ("stages", "parts", "sources", "weights", "benchmarks", "corpora", "settings", "expect", "use")
CHAT = "chat"
AUTO = "auto"  # of resume, as true
SEGMENT = "segment"  # of resume: what has changed in a mixture is appended to the order

OmegaConf.register_resolver("oc.env", harmless_variable, replace=True)


@dataclass(frozen=True)
class Composed:
    """A recipe, complete."""

    recipe: Recipe
    text: str
    """As YAML, secrets left out: it is written down."""

    where: Where
    """Dotted key -> ``file:line`` or ``command line``; what is not in it is a default."""

    signature: str
    """8 hexadecimal digits of everything that decides the result."""

    def run_path(self, out: Path | None = None) -> Path:
        """Where its run lies: its name and signature, unless the caller chose."""
        return out or Path("runs") / f"{self.recipe.name}-{self.signature}"


def home(kind: str) -> Path:
    """The folder ``recipes`` or ``conf``: inside an installed wheel, else beside the package."""
    installed = PACKAGE / f"_{kind}"
    return installed if installed.is_dir() else PACKAGE.parent / kind


def recipe_names() -> list[str]:
    """Recipes that can be called by name."""
    return sorted(path.stem for path in home("recipes").glob("*.yaml"))


def load_recipe(
    path_or_name: str | Path, overrides: Sequence[str] = (), *, is_complete: bool = False
) -> Composed:
    """Read a recipe with everything it names.

    Args:
        overrides: ``key=value``; ``+key=value`` adds to an open table, ``~key`` takes away.
        is_complete: a run's own ``recipe.yaml``, which has everything in it; laying the pieces it was made of
            under it again would bring back what it has replaced.

    Raises:
        RecipeError: with all problems found, each with its place.
    """
    path = _find(path_or_name)
    recipe = read_layer(path)
    line, problems = _command_line(overrides), list[str]()
    pieces = [] if is_complete else _used(recipe, line, problems)
    layers = [Layer({"name": path.stem}), *pieces, recipe]
    merged = Layer({})
    for layer in layers:
        merge(merged, layer)
    _name_mixtures(merged, problems)
    if not is_complete:
        _scale(merged, line, problems)
    _override(merged, line, overrides, problems)
    _name_mixtures(merged, problems)
    built = _built(merged, problems)
    if built is not None:
        problems += _cross_checked(built, merged.where)
    if problems or built is None:
        raise RecipeError(_worded(path, list(dict.fromkeys(problems))))
    built = with_stand_ins(built if is_complete else with_sizes(built, merged.where))
    container = OmegaConf.to_container(OmegaConf.structured(built))
    assert isinstance(container, dict), "a recipe is a table"
    container = masked_tree(container)
    text = yaml.safe_dump(container, sort_keys=False, allow_unicode=True, width=110)
    return Composed(built, text, merged.where, _signature(container))


def _find(path_or_name: str | Path) -> Path:
    path = Path(path_or_name)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return path
    by_name = home("recipes") / f"{path.stem}.yaml"
    if path.parent in (Path(), Path("recipes")) and by_name.is_file():
        return by_name
    raise RecipeError(unknown("recipe", str(path_or_name), recipe_names(), see=f"{home('recipes').name}/"))


def _command_line(overrides: Sequence[str]) -> Tree:
    """What the command line says about ``use``, needed before the pieces are read."""
    tree: Tree = {}
    for override in overrides:
        key, found, value = override.lstrip("+").partition("=")
        if not found and not override.startswith("~"):
            raise RecipeError(
                f"override {override!r} is not key=value; write for example `seed=1` or `~stages.chat`"
            )
        if key.startswith("use."):
            tree[key.removeprefix("use.")] = value
    return tree


def _used(recipe: Layer, line: Tree, problems: list[str]) -> list[Layer]:
    use = recipe.tree.get("use") or {}
    names = use | line if isinstance(use, dict) else line
    layers = []
    for kind, name in names.items():
        if kind in PIECE_OF_USE:
            piece = _piece(kind, str(name), recipe.where.get(f"use.{kind}", COMMAND_LINE), problems)
            key = PIECE_OF_USE[kind]
            layers.append(
                Layer({key: piece.tree}, {f"{key}.{inner}": at for inner, at in piece.where.items()})
            )
        elif kind != "scale":
            at = recipe.where.get(f"use.{kind}", COMMAND_LINE)
            problems.append(f"{at}: {unknown('piece', kind, [*PIECE_OF_USE, 'scale'], see='conf/')}")
    return layers


def _piece(kind: str, name: str, at: str, problems: list[str]) -> Layer:
    path = home("conf") / kind / f"{name}.yaml"
    if not path.is_file():
        known = [file.stem for file in path.parent.glob("*.yaml")]
        problems.append(f"{at}: {unknown(kind, name, known, see=f'conf/{kind}/')}")
        return Layer({})
    layer = read_layer(path)
    return Layer(layer.tree, {key: f"conf/{at}" for key, at in layer.where.items()})


def _name_mixtures(merged: Layer, problems: list[str]) -> None:
    """Put the table where a stage names a mixture."""
    stages = merged.tree.get("stages")
    for name, stage in stages.items() if isinstance(stages, dict) else ():
        for key in NAMED_MIXTURES if isinstance(stage, dict) else ():
            if isinstance(stage.get(key), str):
                place = f"stages.{name}.{key}"
                piece = _piece("mixture", stage[key], merged.where.get(place, COMMAND_LINE), problems)
                stage[key] = piece.tree
                merged.where |= {f"{place}.{inner}": at for inner, at in piece.where.items()}


def _scale(merged: Layer, line: Tree, problems: list[str]) -> None:
    """Lay the piece of ``use.scale`` over everything; its stage ``"*"`` is every stage."""
    name = line.get("scale") or (merged.tree.get("use") or {}).get("scale")
    if not name:
        return
    piece = _piece("scale", str(name), merged.where.get("use.scale", COMMAND_LINE), problems)
    every = (piece.tree.get("stages") or {}).pop("*", {})
    merged.tree.setdefault("use", {})["scale"] = name
    for stage in merged.tree.get("stages") or {}:
        merge(merged, Layer({"stages": {stage: every}}))
        starred = "stages.*."
        merged.where |= {
            key.replace(starred, f"stages.{stage}."): at
            for key, at in piece.where.items()
            if key.startswith(starred)
        }
    merge(merged, piece)


def _override(merged: Layer, line: Tree, overrides: Sequence[str], problems: list[str]) -> None:
    for override in overrides:
        if override.startswith("~"):
            take_away(merged.tree, override[1:], problems)
            continue
        key, _, text = override.lstrip("+").partition("=")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            problems.append(f"{COMMAND_LINE}: `{key}` - {text!r} is not YAML; quote it")
            continue
        if key == "stages" and isinstance(value, list):
            merged.tree["only"] = value
            continue
        parent, _, leaf = key.rpartition(".")
        table = table_at(merged.tree, parent)
        if not override.startswith("+") and _is_new_in_open_table(parent, leaf, table):
            problems.append(_new_entry(key, parent, leaf, table))
            continue
        merge(merged, Layer(nested(key, plain(value)), {key: COMMAND_LINE}))


def _is_new_in_open_table(parent: str, leaf: str, table: Any) -> bool:
    return parent.rpartition(".")[2] in OPEN_TABLES and parent != "use" and leaf not in (table or {})


def _new_entry(key: str, parent: str, leaf: str, table: Any) -> str:
    near = get_close_matches(leaf, table or {}, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    there = ", ".join(table or {}) or "nothing"
    return f"{COMMAND_LINE}: `{key}` - {leaf!r} is not in {parent!r}; {hint}there: {there}; add a new one with +{key}=..."


def _built(merged: Layer, problems: list[str]) -> Recipe | None:
    """The dataclasses; what does not fit the schema is noted and left out, so that all problems are found."""
    tree = with_words(merged.tree)
    for _ in range(100):
        try:
            config = OmegaConf.merge(OmegaConf.structured(Recipe), OmegaConf.create(tree))
            missing = sorted(OmegaConf.missing_keys(config))
            problems += [
                f"{_place(merged.where, key)}: `{key}` - is missing; give it a value" for key in missing
            ]
            if missing:
                return None
            built = OmegaConf.to_object(config)
            assert isinstance(built, Recipe), "the schema is a Recipe"
            return built
        except RecipeError as error:
            problems.append(str(error))
            return None
        except OmegaConfBaseException as error:
            key = str(error.full_key or "")
            problems.append(f"{_place(merged.where, key)}: `{key}` - {_first_line(error)}")
            if not key or not drop(tree, key):
                return None
    return None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def _place(where: Mapping[str, str], key: str) -> str:
    """Where a key stands, or the nearest table above it."""
    while key:
        if key in where:
            return where[key]
        key = key.rpartition(".")[0]
    return "recipe"


def _cross_checked(recipe: Recipe, where: Where) -> list[str]:
    """What a schema cannot say: names of tasks, metrics and stages, and numbers that must be positive."""
    problems = [] if recipe.stages else ["recipe: no stage is left; name one under `stages`"]
    for key, check in _checks(recipe):
        try:
            check()
        except RecipeError as error:
            problems.append(f"{_place(where, key)}: {error}")
    return problems


def _checks(recipe: Recipe) -> Iterator[tuple[str, Callable[[], object]]]:
    """Each setting that has to be looked at, and how."""
    yield "resume", partial(_check_resume, recipe.resume)
    for name, stage in recipe.stages.items():
        for kind, mixture in (("mixture", stage.mixture), ("validation", stage.validation)):
            for task in set(mixture.sources) - {CHAT}:
                yield f"stages.{name}.{kind}.sources.{task}", partial(find_task, task)
        key = f"stages.{name}.checkpoints.keep_last"
        yield key, partial(_check_least, key, stage.checkpoints.keep_last, FEWEST)
        yield f"stages.{name}.spec_augment", partial(_check_spec_augment, name, recipe)
        for setting in ("steps", "pack_tokens", "packs_per_step", "checkpoint_every"):
            key = f"stages.{name}.{setting}"
            yield key, partial(_check_least, key, getattr(stage, setting))
    for name, benchmark in recipe.evaluation.benchmarks.items():
        key = f"evaluation.benchmarks.{name}"
        yield key, partial(check_benchmark, name, recipe.evaluation)
        yield f"{key}.stage", partial(_check_stage, benchmark.stage, recipe)


def _check_least(key: str, value: int, least: int = 1) -> None:
    if value < least:
        raise RecipeError(f"`{key}` is {value}; it must be {least} or more")


def _check_spec_augment(name: str, recipe: Recipe) -> None:
    kind = recipe.model.encoder.kind
    if recipe.stages[name].spec_augment is not None and kind not in LOG_MEL_KINDS:
        raise RecipeError(
            f"stage {name!r} has spec_augment, but an encoder of kind {kind!r} hears waveforms; set spec_augment: null"
        )


def _check_resume(resume: bool | str) -> None:
    if resume not in (True, False, AUTO, SEGMENT):
        raise RecipeError(f"`resume` is {resume!r}; it is {AUTO}, {SEGMENT} or false")


def _check_stage(name: str, recipe: Recipe) -> None:
    if name not in recipe.stages:
        raise RecipeError(unknown("stage", name, recipe.stages, see="the recipe"))


def _worded(path: Path, problems: Sequence[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return f"{len(problems)} problems in recipe {path.name}:\n" + "\n".join(
        f"  {problem}" for problem in problems
    )


def deciding_settings(container: Mapping[Any, Any]) -> dict[str, Any]:
    """Dotted key -> value of everything that decides the result."""
    return {key: value for key, value in _flat(container, "") if not RUN_TIME.match(key)}


def _signature(container: Mapping[Any, Any]) -> str:
    deciding = {key: value for key, value in container.items() if not RUN_TIME.match(str(key))}
    deciding["stages"] = {
        name: {key: value for key, value in stage.items() if key != "checkpoints"}
        for name, stage in container["stages"].items()
    }
    return hashlib.sha256(yaml.safe_dump(deciding, sort_keys=True).encode()).hexdigest()[:8]


def changed_settings(one: Composed, other: Composed) -> list[str]:
    """Dotted keys of what decides the result and is not the same."""
    before, now = (deciding_settings(yaml.safe_load(of.text)) for of in (one, other))
    return sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))


def settings_of(texts: Sequence[str]) -> Tree:
    """A table from ``key=value`` words.

    >>> settings_of(["seed=1", "clips.digits=100"])
    {'seed': 1, 'clips': {'digits': 100}}

    Raises:
        RecipeError: a word is not key=value, or its value is not YAML.
    """
    tree: Tree = {}
    for text in texts:
        key, found, value = text.partition("=")
        if not found:
            raise RecipeError(f"setting {text!r} is not key=value; write for example seed=1")
        try:
            tree = merged_trees(tree, nested(key, yaml.safe_load(value)))
        except yaml.YAMLError as error:
            raise RecipeError(f"setting {text!r}: {value!r} is not YAML; quote it") from error
    return tree


def override_keys(path_or_name: str | None) -> list[str]:
    """Every key of a recipe that the command line can set; those of the schema when there is no recipe."""
    tree: Any = {}
    if path_or_name:
        try:
            tree = yaml.safe_load(load_recipe(path_or_name).text)
        except RecipeError:
            tree = {}
    tree = tree or OmegaConf.to_container(OmegaConf.structured(Recipe))
    return sorted(key for key, _ in _flat(tree, ""))


def _flat(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
