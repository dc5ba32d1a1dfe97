"""Schema of a sweep (``recipes/sweeps/``): base recipe, space, design, metrics.

``sweep/load`` fills it. A trial is the base recipe with the trial's overrides, and an ordinary run.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from audio_lm.common.ranges import Count, Factor, Range, Share, Size, Weight

Kind = Literal["dirichlet", "grid", "list", "tpe"]
Direction = Literal["min", "max"]


@dataclass(frozen=True)
class SharesConfig:
    """Simplex of sampling shares over tasks or groups of one stage's mixture."""

    stage: str
    """Stage whose mixture is varied."""

    over: list[str]
    """Tasks, or groups of the mixture; all others keep their share of the whole."""

    min: dict[str, Share] = field(default_factory=dict)
    """Smallest share of a task or group, of the whole mixture; 0 by default."""

    max: dict[str, Share] = field(default_factory=dict)
    """Largest share, of the whole mixture; 1 by default."""

    max_epochs: Factor | None = None
    """Largest number of epochs of a source in a trial, as a constraint on shares; null for none."""


@dataclass(frozen=True)
class KeyConfig:
    """Values of one dot-key of the recipe; exactly one of the fields is set."""

    values: list[Annotated[Any, Range(-1e12, 1e12)]] = field(default_factory=list)
    """Values to try."""

    log_range: list[Factor] = field(default_factory=list)
    """Smallest and largest value, sampled uniformly in the logarithm."""


@dataclass(frozen=True)
class VaryConfig:
    """Space of a sweep: a simplex of shares, dot-keys, or both."""

    shares: SharesConfig | None = None
    """Shares of tasks or groups."""

    keys: dict[str, KeyConfig] = field(default_factory=dict)
    """Dot-key of the recipe -> its values, such as ``stages.pretrain.prompt``."""


@dataclass(frozen=True)
class BudgetConfig:
    """Length of a trial's varied stage; at most one of the fields is set, and none keeps the recipe's steps."""

    steps: Size | None = None
    """Optimizer steps."""

    learned_tokens: Size | None = None
    """Tokens that the loss counts; converted to steps for each mixture, as answers of tasks differ in length."""


@dataclass(frozen=True)
class MetricConfig:
    """A watched metric."""

    direction: Direction = "min"
    """Better values are smaller (``min``) or larger (``max``)."""

    weight: Weight = 1.0
    """Weight in the objective; 0 watches the metric without optimizing it."""


@dataclass(frozen=True)
class DesignConfig:
    """Choice of the trials' points."""

    kind: Kind = "dirichlet"
    """``dirichlet`` samples around the proportions of the data, ``grid`` and ``list`` are exhaustive, ``tpe`` is Optuna's."""

    trials: Size | None = None
    """Trials beside the first ones; null: three for each varied task, or all points of ``grid`` and ``list``."""

    strengths: list[Factor] = field(default_factory=lambda: [0.5, 1.0, 2.0])
    """Concentrations of the Dirichlet distribution per task, in turn; smaller ones reach the corners."""

    divisions: Annotated[int, Range(1, 1000)] = 4
    """``grid``: intervals of each edge of the simplex."""

    points: list[dict[str, Weight]] = field(default_factory=list)
    """``list``: shares of each trial; need not sum to one."""

    seed: Count = 0
    """Seed of the sampled points."""


@dataclass(frozen=True)
class PruningConfig:
    """Early end of trials that are worse than most others on every watched metric that has a curve and a weight."""

    after: Share = 0.3
    """Share of the steps before which no trial is ended."""

    min_trials: Annotated[int, Range(2, 10_000)] = 6
    """Finished trials that must be there to compare with."""

    worst: Share = 0.5
    """A trial ends if, at the same step, it is among this share of the worst on each of these metrics."""


@dataclass(frozen=True)
class SweepConfig:
    """A sweep."""

    recipe: str
    """Base recipe: its name or file."""

    vary: VaryConfig
    """Space of the trials."""

    metrics: dict[str, MetricConfig]
    """Watched metric -> direction and weight: ``<benchmark>/<metric>`` or ``val_loss/<task>``."""

    name: str = ""
    """Name of the sweep file, without suffix, unless set."""

    overrides: list[str] = field(default_factory=list)
    """Fixed ``key=value`` overrides of the base recipe, the same in every trial."""

    budget: BudgetConfig = field(default_factory=BudgetConfig)
    """Length of a trial."""

    design: DesignConfig = field(default_factory=DesignConfig)
    """Choice of points."""

    repeats: Annotated[int, Range(0, 100)] = 3
    """Runs of the recipe's own mixture with other seeds, which measure the noise."""

    seed: Annotated[int, Range(0, 2**32 - 1)] = 0
    """Seed of all trials but the repeats: the same initial weights, and the same data order where shares agree."""

    pruning: PruningConfig | None = None
    """Early end of bad trials; null, the default, trains all of them to their last step."""

    match_epochs_of: str | None = None
    """Full-size recipe; each source of a trial is cut to so few rows that it is repeated as often as there."""

    verify: list[str] = field(default_factory=list)
    """Overrides of ``sweep verify``, which repeats the best points at a larger scale."""
