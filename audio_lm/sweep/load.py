"""Load a sweep file: schema, base recipe, checks, plan. All problems are reported at once, before the first trial."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from audio_lm.common.errors import RecipeError, UserError
from audio_lm.common.protocols import Report
from audio_lm.common.safe_yaml import COMMAND_LINE
from audio_lm.common.source_name import corpus_of
from audio_lm.config.build import build_config, place_of
from audio_lm.config.checks import paths_outside_roots
from audio_lm.config.load import ComposedRecipe, load_recipe
from audio_lm.config.overrides import key_of_override
from audio_lm.config.resources import find_resource, resource_names, unknown_resource
from audio_lm.config.schema import Recipe
from audio_lm.config.yaml_layers import Layer, merge, read_layer, table_at
from audio_lm.data.manifest.cuts import has_cut_set
from audio_lm.pipeline.corpora import prepare_corpora
from audio_lm.preview.estimate import estimate_stages
from audio_lm.sweep.checks import (
    full_recipe_problems,
    own_problems,
    recipe_problems,
    share_space,
    trained_stages,
)
from audio_lm.sweep.config import SweepConfig
from audio_lm.sweep.definition import Sweep
from audio_lm.sweep.design import first_trials, outside_points
from audio_lm.sweep.epoch_bounds import with_epoch_bounds
from audio_lm.sweep.matched_epochs import FullSize
from audio_lm.sweep.sizes import StageSizes
from audio_lm.sweep.space import ShareSpace, Space

NOT_SIGNED = ("name", "recipe", "overrides", "verify", "match_epochs_of")
"""Settings that do not decide the trials, or are covered by the signature of the recipe they change."""

EXPONENT = re.compile(r"[-+]?\d+(?:\.\d*)?[eE][-+]?\d+")
PATH_KEYS = ("data_dir", "cache_dir", "tracking.uri")


def sweep_names() -> list[str]:
    """Names of the sweeps of this package and of the working folder."""
    return resource_names("recipes", "sweeps")


def load_sweep(
    path_or_name: str | Path,
    overrides: Sequence[str] = (),
    *,
    trusts_code: bool = False,
    report: Report | None = None,
    prepares: bool = True,
) -> Sweep:
    """Load and check a sweep; its corpora are prepared if they are absent and the file has no problem.

    Args:
        overrides: of the base recipe, from the command line; they apply after those of the file.
        trusts_code: the command line allows Python code that comes with a model.
        report: prints the progress of corpora.
        prepares: False refuses a sweep whose corpora are absent, because nothing may be written.

    Raises:
        RecipeError: lists all problems, each with file and line.
    """
    path = _find(path_or_name, report)
    layer = Layer({"name": path.stem})
    merge(layer, read_layer(path))
    file = _SweepFile(path, layer, tuple(overrides), trusts_code, prepares)
    sweep = file.load(report)
    if file.problems or sweep is None:
        raise RecipeError(_message(path, list(dict.fromkeys(file.problems))))
    return sweep


def _find(path_or_name: str | Path, report: Report | None) -> Path:
    path = Path(path_or_name)
    if path.suffix in (".yaml", ".yml") and os.path.isfile(path):
        return path
    is_named = path.parent in (Path(), Path("sweeps"), Path("recipes/sweeps"))
    found = find_resource("recipes", f"sweeps/{path.stem}") if is_named else None
    if found is None:
        raise RecipeError(unknown_resource("recipes", "sweep", str(path_or_name), "sweeps"))
    if report is not None and found.note:
        report(found.note)
    return found.path


def _message(path: Path, problems: Sequence[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    listed = "\n".join(f"  {problem}" for problem in problems)
    return f"{len(problems)} problems in sweep {path.name}:\n{listed}"


@dataclass
class _SweepFile:
    """A sweep file that is being checked."""

    path: Path
    layer: Layer
    overrides: tuple[str, ...]
    """Of the command line."""

    trusts_code: bool
    prepares: bool = True
    problems: list[str] = field(default_factory=list)

    def load(self, report: Report | None) -> Sweep | None:
        config = build_config(SweepConfig, self.layer, self.problems)
        if config is None:
            return None
        config = _with_numbers(config)
        for key, message in own_problems(config, [*self.layer.where]):
            self._add(key, message)
        base = self._recipe("recipe", config.recipe, (*config.overrides, *self.overrides))
        full = (
            None
            if config.match_epochs_of is None
            else self._recipe("match_epochs_of", config.match_epochs_of)
        )
        if base is None:
            return None
        self._check_paths(config, base)
        for key, message in recipe_problems(config, base.recipe):
            self._add(key, message)
        self._check_values(config)
        stage = _stage_of(config, base.recipe)
        if full is not None and stage in base.recipe.stages:
            for message in full_recipe_problems(full.recipe, base.recipe, stage):
                self._add("match_epochs_of", message)
        if self.problems:
            self._check_plan(base.recipe, "recipe")
            return None
        return self._measured(config, base, full, stage, report)

    def _add(self, key: str, message: str) -> None:
        place = place_of(self.layer.where, key)
        place = self.path.name if place == "recipe" else place
        self.problems.append(f"{place}: `{key}` - {message}")

    def _recipe(self, key: str, name: str, overrides: Sequence[str] = ()) -> ComposedRecipe | None:
        try:
            return load_recipe(self._recipe_path(name), overrides, trusts_code=self.trusts_code)
        except UserError as error:
            self._add(
                key, (f"{name} with the overrides of this sweep: " if overrides else "") + _on_one_line(error)
            )
            return None

    def _recipe_path(self, name: str) -> str:
        """Path of a recipe: beside the sweep file if there is one, otherwise as on the command line."""
        beside = self.path.parent / name
        return str(beside) if beside.suffix in (".yaml", ".yml") and beside.is_file() else name

    def _check_paths(self, config: SweepConfig, base: ComposedRecipe) -> None:
        """Refuse folders elsewhere that the overrides of the file set: only the command line may name any folder."""
        typed = set(map(key_of_override, self.overrides))
        from_file = {key_of_override(override) for override in config.overrides} - typed
        place = place_of(self.layer.where, "overrides")
        where = dict.fromkeys(PATH_KEYS, COMMAND_LINE) | {
            key: place
            for key in PATH_KEYS
            if any(key == set_ or key.startswith(f"{set_}.") for set_ in from_file)
        }
        self.problems += paths_outside_roots(base.recipe, where, self.path.parent)

    def _check_values(self, config: SweepConfig) -> None:
        """Load the base recipe with every value of the varied keys, and with the overrides of `sweep verify`."""
        fixed = (*config.overrides, *self.overrides)
        for key, values in config.vary.keys.items():
            for value in [*values.values, *values.log_range]:
                self._recipe(f"vary.keys.{key}", config.recipe, (*fixed, f"{key}={json.dumps(value)}"))
        if config.verify:
            self._recipe("verify", config.recipe, (*fixed, *config.verify))

    def _check_plan(self, recipe: Recipe, key: str) -> None:
        """Plan a recipe whose corpora need no preparation."""
        if not list(_unprepared(recipe)):
            try:
                list(estimate_stages(recipe))
            except UserError as error:
                self._add(key, f"fails `audio-lm plan`: {error}")

    def _measured(
        self,
        config: SweepConfig,
        base: ComposedRecipe,
        full: ComposedRecipe | None,
        stage: str,
        report: Report | None,
    ) -> Sweep | None:
        """The sweep with the sizes of its sources, and bounds from the largest number of epochs."""
        shares = config.vary.shares
        own = {key: table_at(base.tree, key) for key in config.vary.keys}
        space = Space(
            share_space(shares, base.recipe.stages[stage]) if shares else None, config.vary.keys, own
        )
        sizes = self._sizes("recipe", base.recipe, space.shares, stage, report, config.budget.learned_tokens)
        of_full = self._sizes("match_epochs_of", full.recipe, space.shares, stage, report) if full else None
        if sizes is None or (full is not None and of_full is None):
            return None
        sweep = Sweep(
            config=config,
            base=base,
            recipe=self._recipe_path(config.recipe),
            stage=stage,
            space=space,
            sizes=sizes,
            signature=_signature(config, base, full),
            overrides=(*config.overrides, *self.overrides),
            full=FullSize(full.recipe.name, of_full) if full and of_full else None,
        )
        return self._bounded(sweep)

    def _sizes(
        self,
        key: str,
        recipe: Recipe,
        shares: ShareSpace | None,
        stage: str,
        report: Report | None,
        learned_tokens: int | None = None,
    ) -> StageSizes | None:
        """Sizes of the sources of a stage; corpora that the recipe prepares are prepared if they are absent."""
        try:
            if key == "recipe" and not self.prepares and (missing := list(_unprepared(recipe))):
                raise UserError(
                    f"--dry-run: cut-sets {missing} are not prepared, and the trials depend on the size of their data -- "
                    f"`audio-lm sweep plan` prepares them and trains nothing"
                )
            if key == "recipe":
                prepare_corpora(recipe, report or _no_report)
            every_task = _with_all_tasks(recipe, shares)
            if every_task is not recipe:
                list(estimate_stages(recipe))
            return StageSizes.from_recipe(every_task, stage, counts_answers=learned_tokens is not None)
        except UserError as error:
            self._add(key, f"fails `audio-lm plan`: {error}")
            return None

    def _bounded(self, sweep: Sweep) -> Sweep | None:
        """Lower the largest shares to those that ``max_epochs`` allows, and check that points are left."""
        try:
            found = with_epoch_bounds(sweep)
            for message in outside_points(found):
                self._add("design.points", message)
            trials = first_trials(found)
            for trial in {trial.purpose: trial for trial in trials}.values():
                load_recipe(found.recipe, trial.overrides, trusts_code=self.trusts_code)
            return found
        except UserError as error:
            self._add("vary", str(error))
            return None


def _on_one_line(error: UserError) -> str:
    """Message without the heading of several problems, and without the place of overrides, which is this file."""
    lines = str(error).splitlines()
    listed = [line.strip() for line in (lines[1:] if len(lines) > 1 else lines)]
    return "; ".join(line.removeprefix(f"{COMMAND_LINE}: ") for line in listed)


def _with_numbers(config: SweepConfig) -> SweepConfig:
    """The configuration with numbers such as 1e-3 as numbers: YAML reads them as texts where no type is declared."""
    keys = {
        key: replace(values, values=[_number(value) for value in values.values])
        for key, values in config.vary.keys.items()
    }
    return replace(config, vary=replace(config.vary, keys=keys))


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, str) and EXPONENT.fullmatch(value) else value


def _no_report(message: str) -> None:
    """Ignore the progress of corpora."""


def _stage_of(config: SweepConfig, recipe: Recipe) -> str:
    return config.vary.shares.stage if config.vary.shares else trained_stages(recipe)[-1]


def _unprepared(recipe: Recipe) -> Iterator[str]:
    """Yield cut-sets that the recipe prepares and that do not exist yet."""
    for source in recipe.sources:
        if corpus_of(source) in recipe.corpora and not has_cut_set(Path(recipe.data_dir), source):
            yield source


def _with_all_tasks(recipe: Recipe, shares: ShareSpace | None) -> Recipe:
    """The recipe with a share for every varied task, so that all their sources are measured."""
    if shares is None:
        return recipe
    stage = recipe.stages[shares.stage]
    own = replace(shares, mixture=stage.mixture)
    if set(own.tasks_of(own.names)) <= set(stage.mixture.drawn_tasks):
        return recipe
    mixture = own.with_shares(dict.fromkeys(shares.names, 1 / len(shares.names)))
    return replace(recipe, stages={**recipe.stages, shares.stage: replace(stage, mixture=mixture)})


def _signature(config: SweepConfig, base: ComposedRecipe, full: ComposedRecipe | None) -> str:
    """8 hexadecimal digits of everything that decides the trials."""
    settings: dict[str, Any] = {key: value for key, value in asdict(config).items() if key not in NOT_SIGNED}
    if config.design.kind != "tpe":
        del settings["metrics"]
    signatures = [base.signature, full.signature if full else None]
    text = json.dumps([settings, signatures], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
