"""One trial of a sweep: a point of the space with a seed."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

Purpose = Literal[
    "uniform", "proportional", "recipe", "bad", "repeat", "design", "proposed", "verify", "optimum", "expert"
]
FIRST: tuple[Purpose, ...] = ("uniform", "proportional", "recipe", "bad")
"""Trials that every sweep of shares starts with; ``bad`` is a sanity check that the metrics move at all."""


@dataclass(frozen=True)
class Trial:
    """A trial; its run's folder is ``trials/<name>`` in the folder of the sweep."""

    name: str
    """``000``, ``001``, ...: its place in the ledger."""

    purpose: Purpose
    """Reason why it is run."""

    shares: Mapping[str, float] = field(default_factory=dict)
    """Varied task or group -> share of the varied part; sums to one. Empty if no shares are varied."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Varied dot-key -> value."""

    seed: int = 0
    """Seed of the run."""

    overrides: tuple[str, ...] = ()
    """Complete overrides of the base recipe: point, budget, matched epochs, seed."""

    def as_json(self) -> dict[str, Any]:
        """Content of its line in the ledger."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Trial of a line of the ledger."""
        return cls(**{**content, "overrides": tuple(content["overrides"])})
