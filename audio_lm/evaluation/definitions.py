"""Definitions of the benchmarks whose answers a run has kept, in ``benchmarks.json`` beside the answers.

Answers are matched to a definition: a benchmark whose definition has changed is evaluated again, and one from outside the
run's recipe appears in its table. Answers of older releases have no definitions.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from audio_lm.common.files import dataclass_from, read_table, write_json
from audio_lm.evaluation.benchmarks import shared_scores
from audio_lm.evaluation.config import BenchmarkConfig

FILE = "benchmarks.json"
TABLE, PUBLISHED = "benchmarks", "published"
TEXTS = ("source", "task", "prompt", "stage")
NUMBERS = ("max_clips", "max_new_tokens")


@dataclass(frozen=True)
class Definition:
    """A benchmark as it was when it was answered."""

    benchmark: BenchmarkConfig

    published: Mapping[str, float]
    """Metric -> score of others."""


def read_definitions(folder: Path) -> dict[str, Definition]:
    """Benchmark -> its definition; what cannot be read is left out.

    Args:
        folder: of the answers.
    """
    table = read_table(folder / FILE).get(TABLE)
    found = {name: _definition(kept) for name, kept in table.items()} if isinstance(table, dict) else {}
    return {name: one for name, one in found.items() if one is not None}


def keep_definition(
    folder: Path, name: str, benchmark: BenchmarkConfig, published: Mapping[str, float]
) -> None:
    """Write down what the answers to a benchmark belong to; one whose scores it has replaced is left out."""
    table = {
        other: _as_table(one.benchmark, one.published)
        for other, one in read_definitions(folder).items()
        if not shared_scores(one.benchmark, benchmark)
    }
    write_json(folder / FILE, {TABLE: table | {name: _as_table(benchmark, published)}})


def _as_table(benchmark: BenchmarkConfig, published: Mapping[str, float]) -> dict[str, Any]:
    return {**asdict(benchmark), PUBLISHED: dict(published)}


def _definition(kept: Any) -> Definition | None:
    benchmark = dataclass_from(BenchmarkConfig, kept) if isinstance(kept, dict) else None
    if benchmark is None or not _is_well_formed(benchmark):
        return None
    published = kept.get(PUBLISHED)
    values = published.items() if isinstance(published, dict) else ()
    return Definition(
        benchmark, {metric: float(value) for metric, value in values if isinstance(value, int | float)}
    )


def _is_well_formed(benchmark: BenchmarkConfig) -> bool:
    return (
        all(isinstance(getattr(benchmark, name), str) for name in TEXTS)
        and all(isinstance(getattr(benchmark, name), int | None) for name in NUMBERS)
        and isinstance(benchmark.metrics, list)
        and all(isinstance(metric, str) for metric in benchmark.metrics)
    )
