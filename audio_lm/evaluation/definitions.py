"""Save the definitions of a run's evaluated benchmarks, in ``benchmarks.json`` beside the answers.

A benchmark whose definition has changed since is evaluated again. A benchmark that is not in the run's recipe still
appears in its table. Runs of older releases have no definitions.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from audio_lm.common.errors import RecipeError
from audio_lm.common.files import dataclass_from, read_table, write_json
from audio_lm.common.ranges import kind_errors
from audio_lm.evaluation.config import BenchmarkConfig
from audio_lm.evaluation.majority import Majority
from audio_lm.metrics.registry import current_name
from audio_lm.tasks.config import OwnTaskConfig

FILE = "benchmarks.json"
TABLE, PUBLISHED, NUM_CLIPS, MAJORITY, OWN_TASK, STAMP, SPEED = (
    "benchmarks",
    "published",
    "num_clips",
    "majority",
    "own_task",
    "stamp",
    "speed",
)
TEXTS = ("source", "task", "prompt", "stage")
NUMBERS = ("max_clips", "max_new_tokens")
LISTS = ("metrics", "controls", "allowed")


@dataclass(frozen=True)
class Definition:
    """Definition of a benchmark at the time of its evaluation."""

    benchmark: BenchmarkConfig

    published: Mapping[str, float]
    """Metric -> published score."""

    num_clips: int | None = None
    """Clips that were answered; None in a run of an earlier release."""

    majority: Majority | None = None
    """Most frequent answer, where that baseline was scored."""

    own_task: OwnTaskConfig | None = None
    """Definition of the task, if the recipe or the command line defined it."""

    stamp: Mapping[str, str] = field(default_factory=dict)
    """Digests of model, data, decoding and code; empty in a run of an earlier release."""

    speed: float | None = None
    """Seconds of audio that one rank answered per second, controls included."""


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
    """Save the definition of an evaluated benchmark, replacing that of the same name."""
    table = {other: _as_table(earlier) for other, earlier in read_definitions(folder).items()}
    write_json(folder / FILE, {TABLE: table | {name: _as_table(definition)}})


def _as_table(definition: Definition) -> dict[str, Any]:
    own_task = {} if definition.own_task is None else {OWN_TASK: asdict(definition.own_task)}
    return {
        **asdict(definition.benchmark),
        PUBLISHED: dict(definition.published),
        NUM_CLIPS: definition.num_clips,
        MAJORITY: None if definition.majority is None else asdict(definition.majority),
        STAMP: dict(definition.stamp),
        SPEED: definition.speed,
        **own_task,
    }


def _definition(entry: Any) -> Definition | None:
    benchmark = _benchmark(entry) if isinstance(entry, dict) else None
    if benchmark is None or not _is_well_formed(benchmark):
        return None
    published, num_clips, majority, stamp, speed = (
        entry.get(key) for key in (PUBLISHED, NUM_CLIPS, MAJORITY, STAMP, SPEED)
    )
    values = published.items() if isinstance(published, dict) else ()
    return Definition(
        replace(benchmark, metrics=[*map(current_name, benchmark.metrics)]),
        {current_name(metric): float(value) for metric, value in values if isinstance(value, int | float)},
        num_clips if isinstance(num_clips, int) else None,
        dataclass_from(Majority, majority) if isinstance(majority, dict) else None,
        _own_task(entry.get(OWN_TASK)),
        {str(key): str(value) for key, value in stamp.items()} if isinstance(stamp, dict) else {},
        speed if isinstance(speed, float) else None,
    )


def _own_task(entry: Any) -> OwnTaskConfig | None:
    task = dataclass_from(OwnTaskConfig, entry) if isinstance(entry, dict) else None
    return task if task is not None and not any(kind_errors(OwnTaskConfig, asdict(task))) else None


def _benchmark(entry: Mapping[str, Any]) -> BenchmarkConfig | None:
    try:
        return dataclass_from(BenchmarkConfig, entry)
    except RecipeError:
        return None


def _is_well_formed(benchmark: BenchmarkConfig) -> bool:
    return (
        all(isinstance(getattr(benchmark, name), str) for name in TEXTS)
        and isinstance(benchmark.question, str | None)
        and isinstance(benchmark.ordered_stamps, bool)
        and all(isinstance(getattr(benchmark, name), int | None) for name in NUMBERS)
        and isinstance(benchmark.closed, bool)
        and all(_is_list_of_texts(getattr(benchmark, name)) for name in LISTS)
    )


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)
