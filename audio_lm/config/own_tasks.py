"""Own tasks of a recipe: checks, metrics of their benchmarks, and their form in a smoke test without their data."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from audio_lm.common.errors import RecipeError
from audio_lm.common.names import check_name
from audio_lm.config.schema import Recipe
from audio_lm.config.yaml_layers import Layer, as_table, table_at
from audio_lm.metrics.registry import NEEDS_JAVA, find_metric
from audio_lm.tasks.config import METRIC, OwnTaskConfig
from audio_lm.tasks.labels import dummy_values
from audio_lm.tasks.own import own_task
from audio_lm.tasks.registry import TASKS


def check_own_task(name: str, recipe: Recipe) -> None:
    """Check a task that a recipe defines.

    Raises:
        RecipeError: its name is taken, its label, questions, tags or metrics are invalid, or nothing uses it.
    """
    check_name("task", name)
    config = recipe.tasks[name]
    task = own_task(name, config)
    if config.tags is not None:
        from audio_lm.prompts.tags import check_tags

        check_tags(task)
    if not config.metric:
        raise RecipeError(f"task {name!r} has no metric; name one, or leave `metric` out for {METRIC}")
    for metric in config.metric:
        find_metric(metric)
    if not recipe.sources_of(name):
        raise RecipeError(
            f"task {name!r} has no source, so it has no effect -- expected one in a mixture, a validation or a benchmark; "
            f"add one, or remove the task"
        )


def fill_metrics(merged: Layer) -> None:
    """Give a benchmark that names no metrics those of its task, in place."""
    own = as_table(merged.tree.get("tasks"))
    for benchmark in as_table(table_at(merged.tree, "evaluation.benchmarks")).values():
        has_none = isinstance(benchmark, dict) and "metrics" not in benchmark
        if has_none and (metrics := _metrics_of(benchmark.get("task"), own)):
            benchmark["metrics"] = metrics


def _metrics_of(task: Any, own: Mapping[str, Any]) -> list[Any]:
    if not isinstance(task, str):
        return []
    if task in own:
        metric = as_table(own[task]).get("metric", METRIC)
        return metric if isinstance(metric, list) else [metric]
    return [metric for metric in TASKS[task].metrics if metric not in NEEDS_JAVA] if task in TASKS else []


def with_stand_in_label(config: OwnTaskConfig, label: str) -> OwnTaskConfig:
    """Task whose answer is another label and whose questions need no label, for clips without its own."""
    return replace(
        config, label=label, prompt=_filled(config.prompt), prompt_zh=_filled(config.prompt_zh), tags=None
    )


def _filled(prompts: list[str]) -> list[str]:
    return [prompt.format_map(_Dummies()) for prompt in prompts]


class _Dummies(dict[str, Any]):
    def __missing__(self, name: str) -> Any:
        return dummy_values([name])[name]
