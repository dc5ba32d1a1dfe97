"""How a recipe is read: pieces of ``conf/`` below it, overrides above it, every value with its origin.

    schema defaults < conf pieces named in ``use`` < the recipe < ``use.scale`` < the command line

All problems come out at once, each with the file and line it stands in. After
loading nobody sees an OmegaConf object, only frozen dataclasses.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from audio_lm.common.errors import RecipeError, first_line, unknown
from audio_lm.common.names import is_name
from audio_lm.common.safe_yaml import COMMAND_LINE, Tree, Where, read_value
from audio_lm.common.secrets import harmless_variable, mask_tree
from audio_lm.config.checks import (
    misplaced,
    misshapen_values,
    numbers_out_of_range,
    place_of,
    problems_in,
    unread_references,
    untrained_tokens,
    untrusted_code,
)
from audio_lm.config.overrides import lay_overrides, said_about_use
from audio_lm.config.published_sizes import with_sizes
from audio_lm.config.renamed_keys import read_old_names, take_out_old_names
from audio_lm.config.result_keys import affects_result
from audio_lm.config.schema import Recipe, with_words
from audio_lm.config.smoke import Tried, shrunk, with_smoke_data
from audio_lm.config.yaml_layers import (
    Layer,
    drop,
    flat,
    merge,
    nested,
    read_layer,
    table_at,
    table_of,
)

PACKAGE = Path(__file__).parents[1]
PIECE_OF_USE = {"model": "model", "hardware": "hardware", "benchmarks": "evaluation"}
NAMED_MIXTURES = ("mixture", "validation")
RUNS = Path("runs")
RUN_OF_NAME = re.compile(r"(.+)-[0-9a-f]{8}")
MAX_STAGES = 40
DEFAULTS_OF_A_STAGE = 60
MOST_NODES_READ = 10_000  # to find several problems with the schema; a tree is read again after each
STARRED = ("stages", "evaluation.benchmarks")
RECIPE = "recipe.yaml"  # in the folder of a run
WRITTEN_WHERE_SET = (
    "callbacks",
    "logger",
)  # so that recipes without them keep the signature of earlier releases

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

    notes: tuple[str, ...] = ()
    """What was replaced or left out because its data is not here; for the console."""

    @property
    def tree(self) -> Tree:
        """The same as a table."""
        return dict(read_value(self.text))

    def run_path(self, out: Path | None = None) -> Path:
        """Where its run lies: its name and signature, unless the caller chose.

        A run to resume that has another signature, from a release that hashed other settings, is found by its recipe.
        """
        path = out or RUNS / f"{self.recipe.name}-{self.signature}"
        if out is not None or path.exists() or not (self.recipe.is_resumed or self.recipe.only):
            return path
        return next((run for run, changed in self.earlier_runs() if not changed), path)

    def earlier_runs(self) -> Iterator[tuple[Path, list[str]]]:
        """Runs of the same name in ``runs/``, newest first, with the deciding settings that are not the same."""
        folders = [
            run
            for run in RUNS.glob(f"{escape(self.recipe.name)}-*/")
            if (match := RUN_OF_NAME.fullmatch(run.name)) and match[1] == self.recipe.name
        ]
        for run in sorted(folders, key=_changed_at, reverse=True):
            with suppress(RecipeError):
                yield run, self._changed_since(run / RECIPE)

    def _changed_since(self, path: Path) -> list[str]:
        """Deciding settings that differ from a kept recipe; building one takes long, so the plain tables come first."""
        before, now = deciding_settings(_kept_layer(path).tree), deciding_settings(self.tree)
        plain = sorted(key for key in before.keys() & now.keys() if before[key] != now[key])
        return plain or changed_settings(kept_recipe(path), self)


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0  # it was moved aside at this moment


def home(kind: str) -> Path:
    """The folder ``recipes`` or ``conf``: inside an installed wheel, else beside the package."""
    installed = PACKAGE / f"_{kind}"
    return installed if installed.is_dir() else PACKAGE.parent / kind


def recipe_names() -> list[str]:
    """Recipes that can be called by name."""
    return sorted(path.stem for path in home("recipes").glob("*.yaml"))


def load_recipe(
    path_or_name: str | Path,
    overrides: Sequence[str] = (),
    *,
    is_complete: bool = False,
    trusts_code: bool = False,
    below: Layer | None = None,
) -> Composed:
    """Read a recipe with everything it names.

    Args:
        overrides: ``key=value``; ``+key=value`` adds to an open table, ``~key`` takes away.
        is_complete: a run's own ``recipe.yaml``, which has everything in it; laying the pieces it was made of
            under it again would bring back what it has replaced. Pieces that ``overrides`` name are laid over it.
        trusts_code: the command line allows Python code that comes with a model, or no model is loaded.
        below: settings that the recipe lies over.

    Raises:
        RecipeError: with all problems found, each with its place.
    """
    path = _find(path_or_name)
    recipe = _kept_layer(path) if is_complete else read_layer(path)
    line, problems = said_about_use(overrides), list[str]()
    pieces = _used(Layer({}) if is_complete else recipe, line, problems)
    base = [Layer({"name": path.stem}), below or Layer({})]
    layers = [*base, recipe, *pieces] if is_complete else [*base, *pieces, recipe]
    merged = Layer({})
    for layer in layers:
        merge(merged, layer)
    _check_number_of_stages(merged)
    _name_mixtures(merged, problems)
    if not is_complete:
        _scale(merged, line, problems)
    lay_overrides(merged, overrides, problems)
    problems += take_out_old_names(merged.tree, merged.where)
    _name_mixtures(merged, problems)
    built = _built(merged, problems)
    if built is not None:
        problems += problems_in(built, merged.where)
        problems += [] if trusts_code else untrusted_code(built, merged.where)
        if not is_complete and not problems:
            problems += misplaced(built, merged.where, path.parent) + untrained_tokens(built, merged.where)
    if problems or built is None:
        raise RecipeError(_worded(path, list(dict.fromkeys(problems))))
    tried = Tried(built) if is_complete else with_smoke_data(with_sizes(built, merged.where))
    container = OmegaConf.to_container(OmegaConf.structured(tried.recipe))
    assert isinstance(container, dict), "a recipe is a table"
    container = {
        key: value for key, value in mask_tree(container).items() if value or key not in WRITTEN_WHERE_SET
    }
    text = yaml.safe_dump(container, sort_keys=False, allow_unicode=True, width=110)
    return Composed(tried.recipe, text, merged.where, signature_of(container), tried.notes)


def _kept_layer(path: Path) -> Layer:
    """The recipe that a run has kept, under the names of this release."""
    layer = read_layer(path)
    read_old_names(layer.tree)
    return layer


def _find(path_or_name: str | Path) -> Path:
    path = Path(path_or_name)
    if path.suffix in (".yaml", ".yml") and os.path.isfile(path):
        return path
    by_name = home("recipes") / f"{path.stem}.yaml"
    if path.parent in (Path(), Path("recipes")) and os.path.isfile(by_name):
        return by_name
    raise RecipeError(unknown("recipe", str(path_or_name), recipe_names(), see=f"{home('recipes').name}/"))


def _used(recipe: Layer, line: Tree, problems: list[str]) -> list[Layer]:
    names = table_of(recipe.tree.get("use")) | line
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
    if not is_name(name) or not path.is_file():
        known = [file.stem for file in path.parent.glob("*.yaml")]
        problems.append(f"{at}: {unknown(kind, name, known, see=f'conf/{kind}/')}")
        return Layer({})
    layer = read_layer(path)
    return Layer(layer.tree, {key: f"conf/{at}" for key, at in layer.where.items()})


def _check_number_of_stages(merged: Layer) -> None:
    stages = table_of(merged.tree.get("stages"))
    if len(stages) > MAX_STAGES:
        raise RecipeError(
            f"{place_of(merged.where, 'stages')}: {len(stages)} stages, and at most {MAX_STAGES} are read; make several recipes"
        )


def _name_mixtures(merged: Layer, problems: list[str]) -> None:
    """Put the table where a stage names a mixture."""
    for name, stage in table_of(merged.tree.get("stages")).items():
        for key in NAMED_MIXTURES if isinstance(stage, dict) else ():
            if isinstance(stage.get(key), str):
                place = f"stages.{name}.{key}"
                piece = _piece("mixture", stage[key], merged.where.get(place, COMMAND_LINE), problems)
                stage[key] = piece.tree
                merged.where |= {f"{place}.{inner}": at for inner, at in piece.where.items()}


def _scale(merged: Layer, line: Tree, problems: list[str]) -> None:
    """Lay the piece of ``use.scale`` over everything; its stage or benchmark ``"*"`` is every one."""
    name = line.get("scale") or table_of(merged.tree.get("use")).get("scale")
    if not name:
        return
    piece = _piece("scale", str(name), merged.where.get("use.scale", COMMAND_LINE), problems)
    for key in STARRED:
        _lay_star(merged, piece, key)
    _shrink_corpora(merged, piece)
    merge(merged, Layer({"use": {"scale": name}}))
    merge(merged, piece)


def _lay_star(merged: Layer, piece: Layer, key: str) -> None:
    every = (table_at(piece.tree, key) or {}).pop("*", {})
    for name in list(table_of(table_at(merged.tree, key))):
        places = {at: of for at, of in piece.where.items() if at.startswith(f"{key}.*.")}
        where = {at.replace(f"{key}.*.", f"{key}.{name}."): of for at, of in places.items()}
        merge(merged, Layer(nested(key, {name: every}), where))


def _shrink_corpora(merged: Layer, piece: Layer) -> None:
    """Make small what a recipe prepares itself, too."""
    own = table_of(merged.tree.get("corpora"))
    for name, small in table_of(table_at(piece.tree, "stand_ins.corpora")).items():
        if isinstance(own.get(name), dict):
            key = f"corpora.{name}"
            at = piece.where[f"stand_ins.{key}"]
            merge(merged, Layer(nested(key, shrunk(own[name], small)), {f"{key}.{one}": at for one in small}))


def _built(merged: Layer, problems: list[str]) -> Recipe | None:
    """The dataclasses; what does not fit the schema is noted and left out, so that all problems are found."""
    tree = with_words(merged.tree)
    if unreadable := [*unread_references(tree, merged.where), *misshapen_values(tree, merged.where)]:
        problems += unreadable
        return None
    num_nodes = 1 + len(list(flat(tree))) + DEFAULTS_OF_A_STAGE * len(table_of(tree.get("stages")))
    for _ in range(max(1, MOST_NODES_READ // num_nodes)):
        try:
            config = OmegaConf.merge(OmegaConf.structured(Recipe), OmegaConf.create(tree))
            missing = sorted(OmegaConf.missing_keys(config))
            problems += [
                f"{place_of(merged.where, key)}: `{key}` - is missing; give it a value" for key in missing
            ]
            if missing:
                return None
            if outside := numbers_out_of_range(OmegaConf.to_container(config, resolve=True), merged.where):
                problems += outside
                return None
            built = OmegaConf.to_object(config)
            assert isinstance(built, Recipe), "the schema is a Recipe"
            return built
        except RecipeError as error:
            problems.append(f"{place_of(merged.where, _refused_table(config))}: {error}")
            return None
        except OmegaConfBaseException as error:
            key = str(error.full_key or "")
            problems.append(f"{place_of(merged.where, key)}: `{key}` - {first_line(error)}")
            if not key or not drop(tree, key):
                return None
    return None


def _refused_table(config: Any, key: str = "") -> str:
    """Dotted key of the innermost table that its dataclass refuses."""
    for name in config:
        inner = config._get_node(name)
        if isinstance(inner, DictConfig) and not inner._is_none():
            try:
                OmegaConf.to_object(inner)
            except RecipeError:
                return _refused_table(inner, f"{key}.{name}" if key else str(name))
    return key


def _worded(path: Path, problems: Sequence[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return f"{len(problems)} problems in recipe {path.name}:\n" + "\n".join(
        f"  {problem}" for problem in problems
    )


def kept_recipe(path: Path) -> Composed:
    """The composed recipe of a run, to be compared and not to be carried out."""
    return load_recipe(path, is_complete=True, trusts_code=True)


def deciding_settings(container: Mapping[Any, Any]) -> dict[str, Any]:
    """Dotted key -> value of everything that decides the result."""
    return {key: value for key, value in flat(container, "") if affects_result(key)}


def signature_of(container: Mapping[Any, Any]) -> str:
    """8 hexadecimal digits of everything that decides the result."""
    settings = json.dumps(deciding_settings(container), sort_keys=True, default=str)
    return hashlib.sha256(settings.encode()).hexdigest()[:8]


def changed_settings(one: Composed, other: Composed) -> list[str]:
    """Dotted keys of what decides the result and is not the same."""
    before, now = (deciding_settings(of.tree) for of in (one, other))
    return sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))


def override_keys(path_or_name: str | None) -> list[str]:
    """Every key of a recipe that the command line can set; those of the schema when there is no recipe."""
    tree: Any = {}
    if path_or_name:
        try:
            tree = load_recipe(path_or_name, trusts_code=True).tree
        except RecipeError:
            tree = {}
    tree = tree or OmegaConf.to_container(OmegaConf.structured(Recipe))
    return sorted(key for key, _ in flat(tree, ""))
