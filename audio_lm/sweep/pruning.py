"""Early end of bad trials, decided on the curves of every watched metric.

An average over tasks would end a mixture that is good for one task. So a trial ends only if, at the same step, it is among
the worst on all metrics that have a weight and a curve. The first trials and the repeats are never ended: the noise is
measured on them.
"""

from collections.abc import Mapping, Sequence

from audio_lm.sweep.config import MetricConfig, PruningConfig
from audio_lm.sweep.table import Curve

PRUNED_PURPOSES = frozenset({"design", "proposed"})


class Pruner:
    """Rule that ends trials.

    Args:
        config: of the rule.
        metrics: watched metrics.
        steps: of the varied stage.
    """

    def __init__(self, config: PruningConfig, metrics: Mapping[str, MetricConfig], steps: int) -> None:
        self.config = config
        self.metrics = {name: metric for name, metric in metrics.items() if metric.weight > 0}
        self.first_step = config.after * steps

    def reason(self, curves: Mapping[str, Curve], others: Sequence[Mapping[str, Curve]]) -> str:
        """Reason to end a trial now; empty if it goes on.

        Args:
            curves: metric -> curve of the trial so far.
            others: curves of finished trials.
        """
        step = min((curve[-1][0] for curve in curves.values() if curve), default=0)
        if step < self.first_step or len(others) < self.config.min_trials:
            return ""
        compared = []
        for name, metric in self.metrics.items():
            value = _value_at(curves.get(name, ()), step)
            known = [one for other in others if (one := _value_at(other.get(name, ()), step)) is not None]
            if value is None or len(known) < self.config.min_trials:
                continue  # a score at the end of the run has no curve
            is_worse = [one < value if metric.direction == "min" else one > value for one in known]
            share = sum(is_worse) / len(known)
            if share <= 1 - self.config.worst:
                return ""
            compared.append(f"{name} {value:.4g}, worse than {sum(is_worse)} of {len(known)}")
        return f"at step {step}: {'; '.join(compared)}" if compared else ""


def _value_at(curve: Curve, step: int) -> float | None:
    """Value of a curve at a step; None where it was not measured."""
    return next((value for at, value in curve if at == step), None)
