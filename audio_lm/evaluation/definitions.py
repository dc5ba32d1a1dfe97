"""Save the definitions of a run's evaluated benchmarks, in ``benchmarks.json`` beside the answers.

A benchmark whose definition has changed since is evaluated again. A benchmark that is not in the run's recipe still
appears in its table. Runs of older releases have no definitions.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from audio_lm.common.files import dataclass_from, read_table, write_json
from audio_lm.common.ranges import kind_errors
from audio_lm.evaluation.benchmarks import shared_scores
from audio_lm.evaluation.config import BenchmarkConfig
from audio_lm.metrics.registry import current_name
from audio_lm.tasks.config import OwnTaskConfig

FILE = "benchmarks.json"
TABLE, PUBLISHED, OWN_TASK = "benchmarks", "published", "own_task"
TEXTS = ("source", "task", "prompt", "stage")
NUMBERS = ("max_clips", "max_new_tokens")


@dataclass(frozen=True)
class Definition:
    """Definition of a benchmark at the time of its evaluation."""

    benchmark: BenchmarkConfig

    published: Mapping[str, float]
    """Metric -> published score."""

    own_task: OwnTaskConfig | None = None
    """Definition of the task, if the recipe or the command line defined it."""


def read_definitions(folder: Path) -> dict[str, Definition]:
    """Read benchmark -> definition; invalid entries are skipped.

    Args:
        folder: folder of the answers.
    """
    table = read_table(folder / FILE).get(TABLE)
    definitions = (
        {name: _definition(entry) for name, entry in table.items()} if isinstance(table, dict) else {}
    )
    return {name: definition for name, definition in definitions.items() if definition is not None}


def save_definition(folder: Path, name: str, definition: Definition) -> None:
    """Save the definition of an evaluated benchmark; definitions whose scores it replaces are removed."""
    table = {
        other: _as_table(earlier)
        for other, earlier in read_definitions(folder).items()
        if not shared_scores(earlier.benchmark, definition.benchmark)
    }
    write_json(folder / FILE, {TABLE: table | {name: _as_table(definition)}})


def _as_table(definition: Definition) -> dict[str, Any]:
    own_task = {} if definition.own_task is None else {OWN_TASK: asdict(definition.own_task)}
    return {**asdict(definition.benchmark), PUBLISHED: dict(definition.published), **own_task}


def _definition(entry: Any) -> Definition | None:
    benchmark = dataclass_from(BenchmarkConfig, entry) if isinstance(entry, dict) else None
    if benchmark is None or not _is_well_formed(benchmark):
        return None
    published = entry.get(PUBLISHED)
    values = published.items() if isinstance(published, dict) else ()
    return Definition(
        replace(benchmark, metrics=[*map(current_name, benchmark.metrics)]),
        {current_name(metric): float(value) for metric, value in values if isinstance(value, int | float)},
        own_task=_own_task(entry.get(OWN_TASK)),
    )


def _own_task(entry: Any) -> OwnTaskConfig | None:
    task = dataclass_from(OwnTaskConfig, entry) if isinstance(entry, dict) else None
    return task if task is not None and not any(kind_errors(OwnTaskConfig, asdict(task))) else None


def _is_well_formed(benchmark: BenchmarkConfig) -> bool:
    return (
        all(isinstance(getattr(benchmark, name), str) for name in TEXTS)
        and all(isinstance(getattr(benchmark, name), int | None) for name in NUMBERS)
        and isinstance(benchmark.metrics, list)
        and all(isinstance(metric, str) for metric in benchmark.metrics)
    )
