"""Checks of a sweep file against its base recipe, before anything is prepared or trained."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from audio_lm.common.errors import UserError, unknown
from audio_lm.common.names import check_name
from audio_lm.config.result_keys import affects_result
from audio_lm.config.schema import Recipe, StageConfig
from audio_lm.data.config import MixtureConfig
from audio_lm.data.mixture.weights import task_shares
from audio_lm.metrics.registry import find_metric
from audio_lm.sweep.config import (
    BudgetConfig,
    DesignConfig,
    KeyConfig,
    MetricConfig,
    SharesConfig,
    SweepConfig,
)
from audio_lm.sweep.space import TOLERANCE, ShareSpace

VAL_LOSS = "val_loss"
MAX_GRID = 10_000
SETTINGS_OF_KINDS = {
    "strengths": ("dirichlet",),
    "divisions": ("grid",),
    "points": ("list",),
    "trials": ("dirichlet", "tpe"),
}
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
    if config.vary.shares is None and not config.vary.keys:
        yield "vary", "nothing is varied; set vary.shares or vary.keys"
    if not config.metrics:
        yield "metrics", "no metric is watched; name at least one"
    elif not any(metric.weight > 0 for metric in config.metrics.values()):
        yield "metrics", "all weights are 0, so there is nothing to optimize; give one metric a weight"
    if config.budget.steps is not None and config.budget.learned_tokens is not None:
        yield "budget", "steps and learned_tokens are both set; keep one"
    yield from _design_problems(config.design, given)
    yield from _point_problems(config)
    for key, values in config.vary.keys.items():
        messages = [*_value_problems(values, config.design), *_key_problems(key, config)]
        yield from ((f"vary.keys.{key}", message) for message in messages)


def _design_problems(design: DesignConfig, given: Sequence[str]) -> Iterator[Problem]:
    """Yield settings of a design that its kind does not use."""
    for setting, kinds in SETTINGS_OF_KINDS.items():
        key = f"design.{setting}"
        if design.kind not in kinds and any(one == key or one.startswith(f"{key}.") for one in given):
            yield key, f"has no effect with kind: {design.kind}; remove it, or set kind: {kinds[0]}"
    if not design.strengths:
        yield "design.strengths", "is empty; give at least one concentration, such as 1"


def _point_problems(config: SweepConfig) -> Iterator[Problem]:
    """Yield problems of the listed points, and a grid that is too fine."""
    shares, design = config.vary.shares, config.design
    over = [] if shares is None else shares.over
    if design.kind == "list" and shares is not None and not design.points:
        yield "design.points", "is empty; list the shares of each trial"
    for number, point in enumerate(design.points, 1):
        for name in sorted(point.keys() - set(over)):
            see = "vary.shares.over"
            yield "design.points", f"point {number}: {unknown('task or group', name, over, see=see)}"
        if not sum(point.values()) > 0:
            yield "design.points", f"point {number} has no share above 0; give one name a share"
    size = math.comb(design.divisions + max(0, len(over) - 1), design.divisions)
    if design.kind == "grid" and size > MAX_GRID:
        yield (
            "design.divisions",
            f"{design.divisions} divisions of {len(over)} shares make {size:,} points -- expected at most "
            f"{MAX_GRID:,} -- lower divisions",
        )


def _value_problems(config: KeyConfig, design: DesignConfig) -> Iterator[str]:
    low_high = config.log_range
    if bool(config.values) == bool(low_high):
        yield "expected either values or log_range; set one of them"
    if low_high and not (len(low_high) == 2 and low_high[0] < low_high[1]):
        yield f"log_range is {low_high}; write [smallest, largest]"
    if low_high and design.kind in ("grid", "list"):
        yield f"log_range has no points for kind: {design.kind}; list values"
    if len(config.values) != len(set(map(repr, config.values))):
        yield f"values {config.values} repeat; list each once"


def _key_problems(key: str, sweep: SweepConfig) -> Iterator[str]:
    shares, budget = sweep.vary.shares, sweep.budget
    if key.split(".")[0] in FIXED_KEYS:
        yield "is the same in all trials of a sweep and cannot be varied; remove it"
    elif not affects_result(key):
        yield "does not affect the trained weights, so its values give equal trials; set it in overrides"
    if shares and key.startswith(f"stages.{shares.stage}.mixture."):
        yield "is part of the mixture whose shares are varied; vary it in a sweep without vary.shares"
    if key.endswith(".steps") and (budget.steps or budget.learned_tokens):
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
        if message := _metric_problem(name, metric, recipe, stage, config.budget):
            yield f"metrics.{name}", message


def _share_problems(shares: SharesConfig, stage: StageConfig) -> Iterator[Problem]:
    mixture = stage.mixture
    problems = [*_name_problems(shares, mixture)]
    yield from problems
    for key in ("min", "max"):
        for name in getattr(shares, key):
            if name not in shares.over:
                yield f"{key}.{name}", unknown("task or group", name, shares.over, see="vary.shares.over")
    if problems:
        if (least := sum(shares.min.values())) > 1:
            yield "min", f"sums to {least:.4g}, over the whole mixture; lower the smallest shares"
        return
    varied = _unbounded(shares, stage).tasks_of(shares.over)
    if scheduled := [task for task in varied if task in mixture.schedule]:
        yield (
            "over",
            f"{scheduled} have a schedule, so their weights have no effect; remove it with an override "
            f"~stages.{shares.stage}.mixture.schedule",
        )
    yield from _bound_problems(shares, share_of_tasks(mixture, varied))


def _name_problems(shares: SharesConfig, mixture: MixtureConfig) -> Iterator[Problem]:
    over, known = shares.over, [*mixture.weights, *mixture.groups]
    for name in over:
        if name not in known:
            yield "over", unknown("task or group", name, known, see="the mixture of the stage")
    if repeated := sorted({name for name in over if over.count(name) > 1}):
        yield "over", f"{repeated} are listed twice; list each once"
    if len(over) < 2:
        yield "over", f"{over} -- expected at least two tasks or groups, whose shares are traded -- add one"
    tasks = [name for name in over if name in mixture.weights]
    groups = [name for name in over if name in mixture.groups and name not in tasks]
    if tasks and groups:
        yield "over", f"tasks {tasks} and groups {groups} are mixed; vary either tasks or groups"


def share_of_tasks(mixture: MixtureConfig, tasks: Sequence[str]) -> float:
    """Share of some tasks in a mixture."""
    of_task = task_shares(mixture, mixture.weights, mixture.weights)
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


def _metric_problem(
    name: str, metric: MetricConfig, recipe: Recipe, stage: str, budget: BudgetConfig
) -> str | None:
    """Message for a metric that no trial logs, or whose direction is wrong."""
    if name.startswith(f"{VAL_LOSS}/"):
        steps = recipe.stages[stage].steps if budget.steps is None else budget.steps
        shortened = replace(recipe.stages[stage], steps=steps)
        return _loss_problem(name, metric, shortened, stage, has_steps=budget.learned_tokens is None)
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


def _loss_problem(
    name: str, metric: MetricConfig, stage: StageConfig, stage_name: str, *, has_steps: bool
) -> str | None:
    validated = _validated(stage)
    if not validated:
        return f"stage {stage_name!r} has no validation data; add `validation` to the stage, or name the metric of a benchmark"
    if name not in validated:
        return unknown("metric", name, validated, see=f"validation of stage {stage_name!r}")
    if has_steps and stage.validate_every > stage.steps:
        return (
            f"a trial has {stage.steps} steps and validates every {stage.validate_every}; set "
            f"stages.{stage_name}.validate_every to at most {stage.steps}, or to 0 for its end"
        )
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


def full_recipe_problems(full: Recipe, base: Recipe, stage: str) -> Iterator[str]:
    """Yield differences between the full-size recipe and the base recipe that leave its repetition undefined."""
    if stage not in full.stages:
        yield unknown("stage", stage, full.stages, see=f"recipe {full.name!r}")
        return
    own, of_trial = full.stages[stage].mixture, base.stages[stage].mixture
    if different := sorted(own.weights.keys() ^ of_trial.weights.keys()):
        yield (
            f"its stage {stage!r} has other tasks than the base recipe: {different}; name a recipe with the same tasks"
        )
    elif tasks := [task for task in own.sources if own.sources[task] != of_trial.sources[task]]:
        yield f"its stage {stage!r} has other sources of {tasks}; name a recipe with the same sources"
    for corpus in full.corpora.keys() & base.corpora.keys() if full.data_dir == base.data_dir else ():
        if full.corpora[corpus] != base.corpora[corpus]:
            yield (
                f"corpus {corpus!r} has other settings there, and one folder {base.data_dir!r} cannot hold both -- expected "
                f"the corpus of the full-size recipe, of which trials use fewer rows -- set corpora.{corpus} in overrides"
            )


def share_space(shares: SharesConfig, stage: StageConfig) -> ShareSpace:
    """Space of checked shares, with the bounds of the varied part."""
    free = _unbounded(shares, stage)
    low = tuple(shares.min.get(name, 0.0) / free.total for name in free.names)
    high = tuple(min(1.0, shares.max.get(name, 1.0) / free.total) for name in free.names)
    return replace(free, low=low, high=high)


def _unbounded(shares: SharesConfig, stage: StageConfig) -> ShareSpace:
    zeros, ones = (0.0,) * len(shares.over), (1.0,) * len(shares.over)
    return ShareSpace(shares.stage, tuple(shares.over), stage.mixture, zeros, ones)
