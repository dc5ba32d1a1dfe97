"""Recipe loader: merges defaults, pieces of ``conf/``, the recipe and overrides, with the origin of each value.

    schema defaults < conf pieces named in ``use`` < the recipe < ``use.scale`` < the command line

All problems are reported at once, each with file and line. OmegaConf is used only in this
module; the rest of the project gets frozen dataclasses.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from glob import escape
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from audio_lm.common.errors import RecipeError, unknown
from audio_lm.common.names import is_name
from audio_lm.common.safe_yaml import COMMAND_LINE, Tree, Where, read_value
from audio_lm.common.secrets import mask_tree, resolve_env
from audio_lm.config.benchmark_prompts import fill_prompts
from audio_lm.config.build import build_config, place_of
from audio_lm.config.checks import (
    paths_outside_roots,
    problems_in,
    untrained_tokens,
    untrusted_code,
)
from audio_lm.config.overrides import apply_overrides, parse_use_overrides
from audio_lm.config.own_tasks import fill_metrics
from audio_lm.config.published_sizes import with_sizes
from audio_lm.config.renamed_keys import remove_old_keys, rename_old_keys
from audio_lm.config.result_keys import affects_result
from audio_lm.config.schema import Recipe
from audio_lm.config.smoke import SmokeRecipe, shrink_corpus, with_smoke_data
from audio_lm.config.yaml_layers import (
    Layer,
    as_table,
    drop,
    flatten,
    merge,
    nest,
    read_layer,
    table_at,
)

PACKAGE = Path(__file__).parents[1]
PIECE_OF_USE = {"model": "model", "hardware": "hardware", "benchmarks": "evaluation"}
PUBLISHED = "published"
BESIDE_EVALUATION = ("guard", PUBLISHED)
"""Tables of a set of benchmarks that a recipe has beside its ``evaluation``."""
NAMED_MIXTURES = ("mixture", "validation")
RUNS = Path("runs")
RUN_OF_NAME = re.compile(r"(.+)-[0-9a-f]{8}")
MAX_STAGES = 40
WILDCARD_TABLES = ("stages", "evaluation.benchmarks")
RECIPE = "recipe.yaml"  # in the folder of a run
# Keys, of a recipe and of a stage, that are left out unless set: recipes without them keep the signature of earlier releases.
WRITTEN_WHERE_SET = ("callbacks", "logger", "tasks", "extends", "model.adapter", "tracking.params")
WRITTEN_WHERE_SET_IN_A_STAGE = (
    "start_from",
    "mixture.max_rows",
    "validation.max_rows",
    "mixture.online",
    "validation.online",
)

OmegaConf.register_resolver("oc.env", resolve_env, replace=True)


@dataclass(frozen=True)
class ComposedRecipe:
    """Complete recipe with its origins and signature."""

    recipe: Recipe
    text: str
    """YAML text with secrets masked, for the folder of the run."""

    where: Where
    """Dotted key -> ``file:line`` or ``command line``; a key that is absent has its default."""

    signature: str
    """8 hexadecimal digits of all settings that affect the result."""

    notes: tuple[str, ...] = ()
    """Messages about data that was replaced or dropped because it is absent, for the console."""

    @property
    def tree(self) -> Tree:
        """The recipe as nested dicts."""
        return dict(read_value(self.text))

    def run_path(self, out: Path | None = None) -> Path:
        """Folder of the run: ``out`` if given, else ``runs/<name>-<signature>``.

        A run to resume whose signature differs, from a release that hashed other settings, is found by its recipe.
        """
        path = out or RUNS / f"{self.recipe.name}-{self.signature}"
        if out is not None or path.exists() or not (self.recipe.is_resumed or self.recipe.only):
            return path
        return next((run for run, changed in self.earlier_runs() if not changed), path)

    def earlier_runs(self) -> Iterator[tuple[Path, list[str]]]:
        """Yield runs of the same name in ``runs/``, newest first, with the result settings that differ."""
        folders = [
            run
            for run in RUNS.glob(f"{escape(self.recipe.name)}-*/")
            if (match := RUN_OF_NAME.fullmatch(run.name)) and match[1] == self.recipe.name
        ]
        for run in sorted(folders, key=_modified_at, reverse=True):
            with suppress(RecipeError, OSError, ValueError):  # a folder that cannot be read is left out
                yield run, self._changes_from(run / RECIPE)

    def _changes_from(self, path: Path) -> list[str]:
        """Result settings that differ from a kept recipe; loading one is slow, so the YAML is compared first."""
        before, now = result_settings(_kept_layer(path).tree), result_settings(self.tree)
        changed = sorted(key for key in before.keys() & now.keys() if before[key] != now[key])
        return changed or changed_settings(load_kept_recipe(path), self)


def _modified_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0  # it was moved in the meantime


def resource_folder(kind: str) -> Path:
    """Folder ``recipes`` or ``conf``: inside an installed wheel, else next to the package."""
    installed = PACKAGE / f"_{kind}"
    return installed if installed.is_dir() else PACKAGE.parent / kind


def recipe_names() -> list[str]:
    """Names of the shipped recipes."""
    return sorted(path.stem for path in resource_folder("recipes").glob("*.yaml"))


def load_recipe(
    path_or_name: str | Path,
    overrides: Sequence[str] = (),
    *,
    is_complete: bool = False,
    trusts_code: bool = False,
    below: Layer | None = None,
) -> ComposedRecipe:
    """Load and check a recipe with the pieces of ``conf/`` that it uses.

    Args:
        overrides: ``key=value``; ``+key=value`` adds to an open table, ``~key`` deletes.
        is_complete: a run's own ``recipe.yaml``, which has all settings. Its pieces are not merged below it again,
            as that would restore settings that it has replaced; pieces named in ``overrides`` are merged above it.
        trusts_code: the command line allows Python code that comes with a model, or no model is loaded.
        below: settings with lower precedence than the recipe.

    Raises:
        RecipeError: lists all problems, each with file and line.
    """
    path = _find(path_or_name)
    recipe = _kept_layer(path) if is_complete else read_layer(path)
    used, problems = parse_use_overrides(overrides), list[str]()
    pieces = _pieces(Layer({}) if is_complete else recipe, used, problems)
    base = [Layer({"name": path.stem}), below or Layer({})]
    layers = [*base, recipe, *pieces] if is_complete else [*base, *pieces, recipe]
    merged = Layer({})
    for layer in layers:
        merge(merged, layer)
    _check_number_of_stages(merged)
    _expand_mixtures(merged, problems)
    if not is_complete:
        _apply_scale(merged, used, problems)
    apply_overrides(merged, overrides, problems)
    problems += remove_old_keys(merged.tree, merged.where)
    _expand_mixtures(merged, problems)
    fill_metrics(merged)
    fill_prompts(merged)
    built = build_config(Recipe, merged, problems)
    if built is not None:
        problems += problems_in(built, merged.where)
        problems += [] if trusts_code else untrusted_code(built, merged.where)
        if not is_complete and not problems:
            problems += paths_outside_roots(built, merged.where, path.parent) + untrained_tokens(
                built, merged.where
            )
    if problems or built is None:
        raise RecipeError(_message(path, list(dict.fromkeys(problems))))
    smoke = SmokeRecipe(built) if is_complete else with_smoke_data(with_sizes(built, merged.where))
    container = mask_tree(asdict(smoke.recipe))
    _drop_unset(container, WRITTEN_WHERE_SET)
    for stage in container["stages"].values():
        _drop_unset(stage, WRITTEN_WHERE_SET_IN_A_STAGE)
    text = yaml.safe_dump(container, sort_keys=False, allow_unicode=True, width=110)
    return ComposedRecipe(smoke.recipe, text, merged.where, signature_of(container), smoke.notes)


def _drop_unset(tree: Tree, keys: Sequence[str]) -> None:
    for key in keys:
        if not table_at(tree, key):
            drop(tree, key)


def _kept_layer(path: Path) -> Layer:
    """Read the recipe of a run, with old keys renamed."""
    layer = read_layer(path)
    rename_old_keys(layer.tree)
    return layer


def _find(path_or_name: str | Path) -> Path:
    path = Path(path_or_name)
    if path.suffix in (".yaml", ".yml") and os.path.isfile(path):
        return path
    by_name = resource_folder("recipes") / f"{path.stem}.yaml"
    if path.parent in (Path(), Path("recipes")) and os.path.isfile(by_name):
        return by_name
    raise RecipeError(
        unknown("recipe", str(path_or_name), recipe_names(), see=f"{resource_folder('recipes').name}/")
    )


def _pieces(recipe: Layer, overrides: Tree, problems: list[str]) -> list[Layer]:
    """Pieces of ``conf/`` that a recipe and the command line use, except ``use.scale``."""
    names = as_table(recipe.tree.get("use")) | overrides
    layers = []
    for kind, name in names.items():
        if kind in PIECE_OF_USE:
            piece = _piece(kind, str(name), recipe.where.get(f"use.{kind}", COMMAND_LINE), problems)
            key = PIECE_OF_USE[kind]
            tables = BESIDE_EVALUATION if kind == "benchmarks" else ()
            beside = {table: piece.tree.pop(table) for table in tables if table in piece.tree}
            where = {
                inner if inner.partition(".")[0] in beside else f"{key}.{inner}": at
                for inner, at in piece.where.items()
            }
            layers.append(Layer({key: piece.tree} | beside, where))
        elif kind != "scale":
            at = recipe.where.get(f"use.{kind}", COMMAND_LINE)
            problems.append(f"{at}: {unknown('piece', kind, [*PIECE_OF_USE, 'scale'], see='conf/')}")
    return layers


def _piece(kind: str, name: str, at: str, problems: list[str]) -> Layer:
    folder = resource_folder("conf") / kind
    path = folder / f"{name}.yaml"
    if not is_name(name) or not path.is_file():
        known = [file.stem for file in folder.glob("*.yaml")]  # a name with a slash is no path
        problems.append(f"{at}: {unknown(kind, name, known, see=f'conf/{kind}/')}")
        return Layer({})
    layer = read_layer(path)
    return Layer(layer.tree, {key: f"conf/{at}" for key, at in layer.where.items()})


def _check_number_of_stages(merged: Layer) -> None:
    stages = as_table(merged.tree.get("stages"))
    if len(stages) > MAX_STAGES:
        raise RecipeError(
            f"{place_of(merged.where, 'stages')}: {len(stages)} stages, expected at most {MAX_STAGES}; split the recipe"
        )


def _expand_mixtures(merged: Layer, problems: list[str]) -> None:
    """Replace the name of a mixture in a stage by its table."""
    for name, stage in as_table(merged.tree.get("stages")).items():
        for key in NAMED_MIXTURES if isinstance(stage, dict) else ():
            if isinstance(stage.get(key), str):
                place = f"stages.{name}.{key}"
                piece = _piece("mixture", stage[key], merged.where.get(place, COMMAND_LINE), problems)
                stage[key] = piece.tree
                merged.where |= {f"{place}.{inner}": at for inner, at in piece.where.items()}


def _apply_scale(merged: Layer, overrides: Tree, problems: list[str]) -> None:
    """Merge the piece of ``use.scale`` above the recipe; its stage or benchmark ``"*"`` applies to all.

    A table within ``"*"``, such as ``grpo``, applies to those that have it.
    """
    name = overrides.get("scale") or as_table(merged.tree.get("use")).get("scale")
    if not name:
        return
    piece = _piece("scale", str(name), merged.where.get("use.scale", COMMAND_LINE), problems)
    for key in WILDCARD_TABLES:
        _apply_wildcard(merged, piece, key)
    _shrink_corpora(merged, piece)
    merge(merged, Layer({"use": {"scale": name}}))
    merge(merged, piece)


def _apply_wildcard(merged: Layer, piece: Layer, key: str) -> None:
    every = (table_at(piece.tree, key) or {}).pop("*", {})
    for name, own in list(as_table(table_at(merged.tree, key)).items()):
        tables = as_table(own)
        applied = {
            inner: value
            for inner, value in every.items()
            if not isinstance(value, dict) or isinstance(tables.get(inner), dict)
        }
        places = {at: of for at, of in piece.where.items() if at.startswith(f"{key}.*.")}
        where = {at.replace(f"{key}.*.", f"{key}.{name}."): of for at, of in places.items()}
        merge(merged, Layer(nest(key, {name: applied}), where))


def _shrink_corpora(merged: Layer, piece: Layer) -> None:
    """Reduce the corpora that the recipe prepares to the size of their stand-ins."""
    own = as_table(merged.tree.get("corpora"))
    for name, small in as_table(table_at(piece.tree, "stand_ins.corpora")).items():
        if isinstance(own.get(name), dict):
            key = f"corpora.{name}"
            at = piece.where[f"stand_ins.{key}"]
            merge(
                merged,
                Layer(
                    nest(key, shrink_corpus(own[name], small)), {f"{key}.{setting}": at for setting in small}
                ),
            )


def _message(path: Path, problems: Sequence[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return f"{len(problems)} problems in recipe {path.name}:\n" + "\n".join(
        f"  {problem}" for problem in problems
    )


def load_kept_recipe(path: Path) -> ComposedRecipe:
    """Load the recipe of a run for comparison; it is not meant to be executed."""
    return load_recipe(path, is_complete=True, trusts_code=True)


def result_settings(container: Mapping[Any, Any]) -> dict[str, Any]:
    """Dotted key -> value of all settings that affect the result."""
    return {key: value for key, value in flatten(container, "") if affects_result(key)}


def signature_of(container: Mapping[Any, Any]) -> str:
    """8 hexadecimal digits: a hash of all settings that affect the result."""
    settings = json.dumps(result_settings(container), sort_keys=True, default=str)
    return hashlib.sha256(settings.encode()).hexdigest()[:8]


def changed_settings(earlier: ComposedRecipe, later: ComposedRecipe) -> list[str]:
    """Dotted keys of the settings that affect the result and differ."""
    before, now = (result_settings(recipe.tree) for recipe in (earlier, later))
    return sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))


def override_keys(path_or_name: str | None) -> list[str]:
    """Keys of a recipe that the command line can set; those of the schema if there is no valid recipe."""
    tree: Any = {}
    if path_or_name:
        try:
            tree = asdict(load_recipe(path_or_name, trusts_code=True).recipe)  # keys that are not set too
        except RecipeError:
            tree = {}
    tree = tree or OmegaConf.to_container(OmegaConf.structured(Recipe))
    return sorted({key for key, _ in flatten(tree, "")}.union(WRITTEN_WHERE_SET))
