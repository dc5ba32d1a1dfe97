"""Verification of a sweep at a larger scale: the best mixtures and a reference, and whether their ranks held.

Shapes: K tasks or groups.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from audio_lm.sweep.fit import SweepFit
from audio_lm.sweep.noise import NAMED_SPREADS
from audio_lm.sweep.regression.surface import rank_correlation
from audio_lm.sweep.table import Floats, TrialTable

MIN_DISTANCE = 0.05
"""Total variation below which two mixtures are not both worth a large trial."""


@dataclass(frozen=True)
class RankCheck:
    """Order of verified mixtures, predicted from small trials and measured in large ones."""

    runs: tuple[str, ...]
    predicted: Floats  # (N) objective
    measured: Floats  # (N) objective
    rank_correlation: float

    held: tuple[tuple[str, str], ...]
    """Pairs (better, worse) whose predicted difference is more than twice the noise, in the same order at the larger scale."""

    broken: tuple[tuple[str, str], ...]
    """Pairs in the opposite order at the larger scale."""

    undecided: int
    """Number of pairs whose predicted difference is within the noise."""

    def sentence(self) -> str:
        """Summary in one sentence."""
        if not self.held and not self.broken:
            return f"no two of the {len(self.runs)} mixtures differ by more than the noise, so there is no order to verify"
        total = len(self.held) + len(self.broken)
        swapped = "".join(f"; {worse} is better than {better} here" for better, worse in self.broken)
        return (
            f"{len(self.held)} of {total} predicted orders held at the larger scale{swapped} "
            f"(rank correlation {self.rank_correlation:.2f}, {self.undecided} pairs within the noise)"
        )


def top_mixtures(fit: SweepFit, count: int) -> Floats:
    """Recommended mixture, if there is one, then the best predicted trials that differ from it and each other (count, K)."""
    order = np.argsort(fit.predict_objective(fit.table.shares)[0], kind="stable")
    candidates = [*([] if fit.best is None else [fit.best.shares]), *fit.table.shares[order]]
    chosen: list[Floats] = []
    for shares in candidates:
        if all(np.abs(shares - other).sum() / 2 >= MIN_DISTANCE for other in chosen):
            chosen.append(shares)
    return np.stack(chosen[:count])


def check_ranks(fit: SweepFit, large: TrialTable) -> RankCheck:
    """Compare the predicted order of mixtures with their order in larger trials.

    Raises:
        KeyError: a metric of the objective was not measured in the larger trials.
    """
    measured = fit.objective.measured(large.metrics)
    rows = np.flatnonzero(np.isfinite(measured))
    predicted = fit.predict_objective(large.shares)[0]
    threshold = NAMED_SPREADS * (fit.objective_noise or 0.0)
    held: list[tuple[str, str]] = []
    broken: list[tuple[str, str]] = []
    undecided = 0
    for one, other in combinations(rows, 2):
        better, worse = sorted((one, other), key=lambda row: predicted[row])
        if predicted[worse] - predicted[better] <= threshold:
            undecided += 1
            continue
        pair = (large.runs[better], large.runs[worse])
        (held if measured[better] < measured[worse] else broken).append(pair)
    return RankCheck(
        tuple(large.runs[row] for row in rows),
        predicted[rows],
        measured[rows],
        rank_correlation(predicted[rows], measured[rows]),
        tuple(held),
        tuple(broken),
        undecided,
    )
