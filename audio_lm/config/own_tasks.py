"""Own tasks of a recipe: checks, metrics of their benchmarks, and their form in a smoke test without their data."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from string import Formatter
from typing import Any

from audio_lm.common.errors import RecipeError
from audio_lm.common.names import check_name
from audio_lm.config.schema import Recipe
from audio_lm.config.yaml_layers import Layer, as_table, table_at
from audio_lm.metrics.registry import find_metric, packaged
from audio_lm.tasks.config import METRIC, OwnTaskConfig
from audio_lm.tasks.labels import dummy_values
from audio_lm.tasks.own import check_answer, check_fields, check_new_name, check_questions, own_task
from audio_lm.tasks.registry import CHAT, TASKS

Check = tuple[str, Callable[[], object]]
"""Dotted key of a setting, and a function that raises ``UserError`` if the setting is invalid."""


def checks_of_own_tasks(recipe: Recipe) -> Iterator[Check]:
    """Yield the dotted key of each setting of the own tasks, with its check."""
    for name, config in recipe.tasks.items():
        key, label = f"tasks.{name}", config.label
        yield key, partial(check_name, "task", name)
        yield key, partial(check_new_name, name)
        yield key, partial(_check_use, name, recipe)
        yield f"{key}.label", partial(check_answer, label)
        yield f"{key}.prompt", partial(check_questions, config.prompt, label=label)
        if config.prompt_zh:
            yield f"{key}.prompt_zh", partial(check_questions, config.prompt_zh, label=label)
        if config.tags is not None:
            yield f"{key}.tags", partial(_check_tags, name, config)
        yield from ((f"{key}.metric", partial(find_metric, metric)) for metric in config.metric)


def _check_use(name: str, recipe: Recipe) -> None:
    if not recipe.sources_of(name):
        raise RecipeError(
            f"task {name!r} has no source, so it has no effect -- expected one in a mixture, a validation or a benchmark; "
            f"add one, or remove the task"
        )


def _check_tags(name: str, config: OwnTaskConfig) -> None:
    from audio_lm.prompts.tags import check_tags

    check_fields(config.tags or "", label=config.label)
    check_tags(own_task(name, config))


def names_of_tasks(merged: Layer) -> list[str]:
    """Names of all tasks that mixtures and benchmarks of a recipe have, before its schema is checked."""
    names: list[Any] = []
    for stage in as_table(merged.tree.get("stages")).values():
        for key in ("mixture", "validation"):
            names += as_table(table_at(stage, f"{key}.sources"))
    benchmarks = as_table(table_at(merged.tree, "evaluation.benchmarks"))
    names += [as_table(benchmark).get("task") for benchmark in benchmarks.values()]
    return list(dict.fromkeys(name for name in names if isinstance(name, str)))


def fill_metrics(merged: Layer) -> None:
    """Give a benchmark that names no metrics those of its task, in place."""
    own = as_table(merged.tree.get("tasks"))
    for benchmark in as_table(table_at(merged.tree, "evaluation.benchmarks")).values():
        has_none = isinstance(benchmark, dict) and "metrics" not in benchmark
        if has_none and (metrics := _metrics_of(benchmark.get("task"), own)):
            benchmark["metrics"] = metrics


def _metrics_of(task: Any, own: Mapping[str, Any]) -> list[Any]:
    """Metrics of a task; none of a chat; one of an unknown task, so that only its name is reported."""
    if not isinstance(task, str) or task == CHAT:
        return []
    if task in own:
        metric = as_table(own[task]).get("metric", METRIC)
        return metric if isinstance(metric, list) else [metric]
    return packaged(TASKS[task].metrics) if task in TASKS else [METRIC]


def with_stand_in_label(config: OwnTaskConfig, label: str) -> OwnTaskConfig:
    """Task whose answer is another label and whose questions need no label, for clips without its own."""
    return replace(
        config, label=label, prompt=_filled(config.prompt), prompt_zh=_filled(config.prompt_zh), tags=None
    )


def _filled(prompts: list[str]) -> list[str]:
    return ["".join(map(_filled_part, Formatter().parse(prompt))) for prompt in prompts]


def _filled_part(part: tuple[str, str | None, str | None, str | None]) -> str:
    text, field, _, _ = part
    value = "" if field is None else str(dummy_values([field])[field])
    return (text + value).replace("{", "{{").replace("}", "}}")
