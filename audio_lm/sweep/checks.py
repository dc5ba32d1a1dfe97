"""Checks of a sweep file against its base recipe, before anything is prepared or trained."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from audio_lm.common.errors import UserError, unknown
from audio_lm.common.names import check_name
from audio_lm.config.result_keys import affects_result
from audio_lm.config.schema import Recipe, StageConfig
from audio_lm.data.mixture.weights import task_shares
from audio_lm.metrics.registry import find_metric
from audio_lm.sweep.config import KeyConfig, MetricConfig, SharesConfig, SweepConfig
from audio_lm.sweep.space import TOLERANCE, ShareSpace

VAL_LOSS = "val_loss"
MAX_GRID = 10_000
FIXED_KEYS = ("seed", "corpora", "extends", "callbacks")
Problem = tuple[str, str]
"""Dotted key of the sweep file, and message."""


def trained_stages(recipe: Recipe) -> list[str]:
    """Stages that a run of a recipe trains, in order."""
    return [name for name in recipe.stages if not recipe.only or name in recipe.only]


def own_problems(config: SweepConfig, given: Sequence[str]) -> Iterator[Problem]:
    """Yield problems that the sweep file has by itself.

    Args:
        given: dotted keys that the file sets.
    """
    try:
        check_name("sweep", config.name)
    except UserError as error:
        yield "name", str(error)
    shares, design = config.vary.shares, config.design
    if shares is None and not config.vary.keys:
        yield "vary", "nothing is varied; set vary.shares or vary.keys"
    if not config.metrics:
        yield "metrics", "no metric is watched; name at least one"
    elif not any(metric.weight > 0 for metric in config.metrics.values()):
        yield "metrics", "all weights are 0, so there is nothing to optimize; give one metric a weight"
    if config.budget.steps is not None and config.budget.learned_tokens is not None:
        yield "budget", "steps and learned_tokens are both set; keep one"
    for setting, kind in (("strengths", "dirichlet"), ("divisions", "grid"), ("points", "list")):
        if any(key.startswith(f"design.{setting}") for key in given) and design.kind != kind:
            yield (
                f"design.{setting}",
                f"has no effect with kind: {design.kind}; remove it, or set kind: {kind}",
            )
    if design.kind in ("grid", "list") and design.trials is not None:
        yield "design.trials", f"has no effect with kind: {design.kind}, which runs all its points; remove it"
    if not design.strengths:
        yield "design.strengths", "is empty; give at least one concentration, such as 1"
    yield from _list_problems(config)
    for key, values in config.vary.keys.items():
        yield from ((f"vary.keys.{key}", message) for message in _value_problems(key, values, config))


def _list_problems(config: SweepConfig) -> Iterator[Problem]:
    shares, design = config.vary.shares, config.design
    if shares is None:
        if design.points:
            yield "design.points", "are shares, but vary.shares is not set; remove them"
        return
    if design.kind == "list" and not design.points:
        yield "design.points", "is empty; list the shares of each trial"
    for number, point in enumerate(design.points, 1):
        for name in sorted(point.keys() - set(shares.over)):
            yield (
                "design.points",
                f"point {number}: {unknown('name', name, shares.over, see='vary.shares.over')}",
            )
        if not sum(point.values()) > 0:
            yield "design.points", f"point {number} has no share above 0; give one name a share"
    if design.kind == "grid" and len(shares.over) > 1:
        size = math.comb(design.divisions + len(shares.over) - 1, len(shares.over) - 1)
        if size > MAX_GRID:
            yield (
                "design.divisions",
                f"{design.divisions} divisions of {len(shares.over)} shares make {size:,} points -- expected at most "
                f"{MAX_GRID:,} -- lower divisions",
            )


def _value_problems(key: str, config: KeyConfig, sweep: SweepConfig) -> Iterator[str]:
    shares, low_high = sweep.vary.shares, config.log_range
    if bool(config.values) == bool(low_high):
        yield "expected either values or log_range; set one of them"
    if low_high and not (len(low_high) == 2 and low_high[0] < low_high[1]):
        yield f"log_range is {low_high}; write [smallest, largest]"
    if low_high and sweep.design.kind in ("grid", "list"):
        yield f"log_range has no points for kind: {sweep.design.kind}; list values"
    if len(config.values) != len(set(map(repr, config.values))):
        yield f"values {config.values} repeat; list each once"
    if key.split(".")[0] in FIXED_KEYS:
        yield "is the same in all trials of a sweep and cannot be varied; remove it"
    elif not affects_result(key):
        yield "does not affect the trained weights, so its values give equal trials; set it in overrides"
    if shares and key.startswith(f"stages.{shares.stage}.mixture."):
        yield "is part of the mixture whose shares are varied; vary it in a sweep without vary.shares"
    if (
        key.startswith("stages.")
        and key.endswith(".steps")
        and vars(sweep.budget) != {"steps": None, "learned_tokens": None}
    ):
        yield "is set by the budget; remove one of them"


def recipe_problems(config: SweepConfig, recipe: Recipe) -> Iterator[Problem]:
    """Yield problems of a sweep file with its base recipe."""
    shares, trained = config.vary.shares, trained_stages(recipe)
    if shares is not None and shares.stage not in recipe.stages:
        yield "vary.shares.stage", unknown("stage", shares.stage, recipe.stages, see="the base recipe")
    elif shares is not None and shares.stage not in trained:
        yield (
            "vary.shares.stage",
            f"stage {shares.stage!r} is not trained with only={recipe.only}; add it to only",
        )
    elif shares is not None:
        yield from (
            (f"vary.shares.{key}", message)
            for key, message in _share_problems(shares, recipe.stages[shares.stage])
        )
    stage = shares.stage if shares is not None and shares.stage in recipe.stages else trained[-1]
    for name, metric in config.metrics.items():
        if message := _metric_problem(name, metric, recipe, stage):
            yield f"metrics.{name}", message


def _share_problems(shares: SharesConfig, stage: StageConfig) -> Iterator[Problem]:
    mixture = stage.mixture
    known = [*mixture.weights, *mixture.groups]
    wrong = [name for name in shares.over if name not in known]
    yield from (
        ("over", unknown("task or group", name, known, see="the mixture of the stage")) for name in wrong
    )
    repeated = sorted({name for name in shares.over if shares.over.count(name) > 1})
    if repeated:
        yield "over", f"{repeated} are listed twice; list each once"
    if len(shares.over) < 2:
        yield (
            "over",
            f"{shares.over} -- expected at least two tasks or groups, whose shares are traded -- add one",
        )
    for key in ("min", "max"):
        for name in getattr(shares, key):
            if name not in shares.over:
                yield f"{key}.{name}", unknown("name", name, shares.over, see="vary.shares.over")
    tasks = [name for name in shares.over if name in mixture.weights]
    if not wrong and tasks and len(tasks) < len(shares.over):
        groups = [name for name in shares.over if name not in tasks]
        yield "over", f"tasks {tasks} and groups {groups} are mixed; vary either tasks or groups"
    if wrong or repeated or not shares.over:
        return
    varied = tasks or [task for name in shares.over for task in mixture.groups[name]]
    scheduled = [task for task in varied if task in mixture.schedule]
    if scheduled:
        yield (
            "over",
            f"{scheduled} have a schedule, so their weights have no effect; remove it with an override: ~stages...schedule",
        )
    yield from _bound_problems(shares, share_of_varied(stage, varied))


def share_of_varied(stage: StageConfig, tasks: Sequence[str]) -> float:
    """Share of some tasks in a stage's mixture."""
    of_task = task_shares(stage.mixture, stage.mixture.weights, stage.mixture.weights)
    return sum(of_task.get(task, 0.0) for task in tasks)


def _bound_problems(shares: SharesConfig, total: float) -> Iterator[Problem]:
    """Yield bounds that no mixture, or only one, satisfies.

    Args:
        total: share of the varied part in the whole mixture.
    """
    low = {name: shares.min.get(name, 0.0) for name in shares.over}
    high = {name: min(shares.max.get(name, 1.0), total) for name in shares.over}
    part = f"the varied tasks have {total:.4g} of the mixture"
    crossed = [name for name in shares.over if low[name] > shares.max.get(name, 1.0)]
    yield from (
        (f"min.{name}", f"{low[name]:g} is over max {shares.max[name]:g}; lower it") for name in crossed
    )
    if not total > 0:
        yield (
            "over",
            "all varied tasks have weight 0 in the base recipe, so there is no share to divide; give one a weight",
        )
    elif sum(low.values()) > total + TOLERANCE:
        yield "min", f"sums to {sum(low.values()):.4g}, and {part}; lower the smallest shares"
    elif sum(high.values()) < total - TOLERANCE:
        yield "max", f"sums to {sum(high.values()):.4g}, and {part}; raise the largest shares"
    elif not crossed and _is_one_point(low, high, total):
        yield (
            "min" if shares.min else "max",
            "the bounds leave one mixture only, so nothing is varied; widen them",
        )


def _is_one_point(low: dict[str, float], high: dict[str, float], total: float) -> bool:
    can_move = sum(high[name] > low[name] + TOLERANCE for name in low) > 1
    return not can_move or min(abs(sum(low.values()) - total), abs(sum(high.values()) - total)) <= TOLERANCE


def _metric_problem(name: str, metric: MetricConfig, recipe: Recipe, stage: str) -> str | None:
    """Message for a metric that no trial logs, or whose direction is wrong."""
    if name.startswith(f"{VAL_LOSS}/"):
        return _loss_problem(name, metric, recipe.stages[stage], stage)
    benchmark, _, metric_name = name.rpartition("/")
    known = recipe.evaluation.benchmarks
    if benchmark not in known or metric_name not in known[benchmark].metrics:
        return unknown(
            "metric", name, logged_metrics(recipe, stage), see="evaluation.benchmarks of the base recipe"
        )
    if known[benchmark].stage not in trained_stages(recipe):
        return (
            f"its benchmark evaluates stage {known[benchmark].stage!r}, which is not trained; add it to only"
        )
    better = "max" if find_metric(metric_name).is_higher_better else "min"
    return _direction_problem(metric, better)


def _loss_problem(name: str, metric: MetricConfig, stage: StageConfig, stage_name: str) -> str | None:
    validated = _validated(stage)
    if not validated:
        return f"stage {stage_name!r} has no validation data; add `validation` to the stage, or name the metric of a benchmark"
    if name not in validated:
        return unknown("metric", name, validated, see=f"validation of stage {stage_name!r}")
    return _direction_problem(metric, "min")


def _direction_problem(metric: MetricConfig, better: str) -> str | None:
    if metric.direction == better:
        return None
    larger = "larger" if better == "max" else "smaller"
    return f"direction is {metric.direction}, but {larger} values are better; set direction: {better}"


def _validated(stage: StageConfig) -> list[str]:
    tasks = [task for task, weight in stage.validation.weights.items() if weight > 0]
    return [f"{VAL_LOSS}/{task}" for task in (*tasks, "all")] if tasks and stage.max_validation_clips else []


def logged_metrics(recipe: Recipe, stage: str) -> list[str]:
    """Metrics that a trial logs: those of the benchmarks, and validation losses of the varied stage."""
    benchmarks = recipe.evaluation.benchmarks.items()
    scores = [f"{name}/{metric}" for name, benchmark in benchmarks for metric in benchmark.metrics]
    return [*scores, *_validated(recipe.stages[stage])]


@dataclass(frozen=True)
class FullRecipe:
    """The full-size recipe beside the base recipe, for matched epochs."""

    recipe: Recipe
    stage: str

    def problems(self, base: Recipe) -> Iterator[str]:
        """Yield messages for differences that leave its repetition undefined."""
        if self.stage not in self.recipe.stages:
            yield unknown("stage", self.stage, self.recipe.stages, see=f"recipe {self.recipe.name!r}")
            return
        own, of_trial = self.recipe.stages[self.stage].mixture, base.stages[self.stage].mixture
        if own.weights.keys() != of_trial.weights.keys():
            different = sorted(own.weights.keys() ^ of_trial.weights.keys())
            yield f"its stage {self.stage!r} has other tasks than the base recipe: {different}; name a recipe with the same tasks"
        elif own.sources != of_trial.sources:
            tasks = [task for task in own.sources if own.sources[task] != of_trial.sources[task]]
            yield f"its stage {self.stage!r} has other sources of {tasks}; name a recipe with the same sources"


def share_space(shares: SharesConfig, stage: StageConfig) -> ShareSpace:
    """Space of checked shares, with the bounds of the varied part."""
    names = tuple(shares.over)
    free = ShareSpace(shares.stage, names, stage.mixture, (0.0,) * len(names), (1.0,) * len(names))
    low = tuple(shares.min.get(name, 0.0) / free.total for name in names)
    high = tuple(min(1.0, shares.max.get(name, 1.0) / free.total) for name in names)
    return ShareSpace(shares.stage, names, stage.mixture, low, high)


def settings_of(recipe: Any, keys: Sequence[str]) -> dict[str, Any]:
    """Values of dot-keys in a recipe; None where a key is not set."""
    found = {}
    for key in keys:
        value = recipe
        for name in key.split("."):
            value = value.get(name) if isinstance(value, dict) else getattr(value, name, None)
        found[key] = value
    return found
