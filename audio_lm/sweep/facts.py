"""Facts of a sweep that every worker needs, as the first line of its ledger has them.

A worker on another machine reads them there, so it needs the folder of the sweep alone.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from audio_lm.sweep.config import MetricConfig, PruningConfig

SWEEPS = Path("sweeps")
"""Folder of the sweeps, below the working folder."""


@dataclass(frozen=True)
class SweepFacts:
    """Facts that all trials of a sweep share."""

    name: str
    """Name of the sweep with its signature; also the experiment in MLflow."""

    recipe: str
    """Base recipe: its name, or the absolute path of its file."""

    stage: str
    """Stage that is varied and whose curves are kept."""

    tasks: tuple[str, ...]
    """Varied tasks or groups."""

    metrics: Mapping[str, MetricConfig]
    """Watched metric -> direction and weight."""

    steps: int = 0
    """Steps of the varied stage of the base recipe with the fixed overrides."""

    overrides: tuple[str, ...] = ()
    """Fixed overrides."""

    signature: str = ""
    """Signature of the base recipe with the fixed overrides; a worker refuses to run trials of another one."""

    file: str = ""
    """Sweep file: its name, or its absolute path."""

    typed: tuple[str, ...] = ()
    """Overrides of the command line; they are among ``overrides``."""

    folder: str = ""
    """Working folder of the trials, which relative paths of the recipe start from; empty for that of the worker."""

    pruning: PruningConfig | None = None
    """Rule that ends bad trials early; null trains all to their last step."""

    num_sampled: int = 0
    """Trials that workers choose one by one from the results so far, in addition to those that are planned."""

    trusts_code: bool = False
    """The command line allows Python code that comes with a model."""

    def as_json(self) -> dict[str, Any]:
        """Content of the first line of the ledger."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Facts of the first line of a ledger."""
        pruning = content.get("pruning")
        return cls(
            **{
                **content,
                "tasks": tuple(content["tasks"]),
                "overrides": tuple(content["overrides"]),
                "typed": tuple(content["typed"]),
                "metrics": {name: MetricConfig(**metric) for name, metric in content["metrics"].items()},
                "pruning": None if pruning is None else PruningConfig(**pruning),
            }
        )
