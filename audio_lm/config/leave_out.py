"""Overrides that leave out sources of a recipe, with the tasks and benchmarks that need them."""

import json
from collections.abc import Iterator
from typing import Protocol

from audio_lm.config.schema import Recipe
from audio_lm.data.config import MixtureConfig


class IsAbsent(Protocol):
    """Test of a source."""

    def __call__(self, source: str, /) -> bool:
        """True if the source is to be left out."""


def overrides_without(recipe: Recipe, is_absent: IsAbsent) -> list[str]:
    """Overrides of a command line after which a recipe has no absent source; none if it has none now."""
    found: list[str] = []
    for name, stage in recipe.stages.items():
        for key in ("mixture", "validation"):
            found += _without_sources(f"stages.{name}.{key}", getattr(stage, key), is_absent)
    benchmarks = recipe.evaluation.benchmarks
    dropped = [name for name, benchmark in benchmarks.items() if is_absent(benchmark.source)]
    found += [f"~evaluation.benchmarks.{name}" for name in dropped]
    found += [f"~published.{name}" for name in dropped if name in recipe.published]
    if dropped and recipe.guard is not None and set(dropped) & set(recipe.guard.benchmarks):
        kept = [name for name in recipe.guard.benchmarks if name not in dropped]
        found.append(f"guard.benchmarks={json.dumps(kept)}")
    return found


def _without_sources(key: str, mixture: MixtureConfig, is_absent: IsAbsent) -> Iterator[str]:
    for task, sources in mixture.sources.items():
        kept = [source for source in sources if not is_absent(source)]
        if not kept:
            yield from (f"~{key}.sources.{task}", f"~{key}.weights.{task}")
        elif kept != list(sources):
            yield f"{key}.sources.{task}={json.dumps(kept)}"
        for source in sources:
            if source not in kept and source in mixture.source_weights:
                yield f"~{key}.source_weights.{source}"
