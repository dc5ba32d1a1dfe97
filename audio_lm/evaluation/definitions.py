"""Save the definitions of a run's evaluated benchmarks, in ``benchmarks.json`` beside the answers.

A benchmark whose definition has changed since is evaluated again. A benchmark that is not in the run's recipe still
appears in its table. Runs of older releases have no definitions.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from audio_lm.common.files import dataclass_from, read_table, write_json
from audio_lm.evaluation.benchmarks import shared_scores
from audio_lm.evaluation.config import BenchmarkConfig
from audio_lm.metrics.registry import current_name

FILE = "benchmarks.json"
TABLE, PUBLISHED = "benchmarks", "published"
TEXTS = ("source", "task", "prompt", "stage")
NUMBERS = ("max_clips", "max_new_tokens")


@dataclass(frozen=True)
class Definition:
    """Definition of a benchmark at the time of its evaluation."""

    benchmark: BenchmarkConfig

    published: Mapping[str, float]
    """Metric -> published score."""


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


def save_definition(
    folder: Path, name: str, benchmark: BenchmarkConfig, published: Mapping[str, float]
) -> None:
    """Save the definition of an evaluated benchmark; definitions whose scores it replaces are removed."""
    table = {
        other: _as_table(definition.benchmark, definition.published)
        for other, definition in read_definitions(folder).items()
        if not shared_scores(definition.benchmark, benchmark)
    }
    write_json(folder / FILE, {TABLE: table | {name: _as_table(benchmark, published)}})


def _as_table(benchmark: BenchmarkConfig, published: Mapping[str, float]) -> dict[str, Any]:
    return {**asdict(benchmark), PUBLISHED: dict(published)}


def _definition(entry: Any) -> Definition | None:
    benchmark = dataclass_from(BenchmarkConfig, entry) if isinstance(entry, dict) else None
    if benchmark is None or not _is_well_formed(benchmark):
        return None
    published = entry.get(PUBLISHED)
    values = published.items() if isinstance(published, dict) else ()
    return Definition(
        replace(benchmark, metrics=[*map(current_name, benchmark.metrics)]),
        {current_name(metric): float(value) for metric, value in values if isinstance(value, int | float)},
    )


def _is_well_formed(benchmark: BenchmarkConfig) -> bool:
    return (
        all(isinstance(getattr(benchmark, name), str) for name in TEXTS)
        and all(isinstance(getattr(benchmark, name), int | None) for name in NUMBERS)
        and isinstance(benchmark.metrics, list)
        and all(isinstance(metric, str) for metric in benchmark.metrics)
    )
