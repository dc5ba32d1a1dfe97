"""Shares of tasks from their losses: a bandit whose arms are the tasks, and whose reward is the training loss.

A decision is a function of the losses that are logged with it and of the decisions before. It differs from the paper in
two points. The rate of the rewards is constant, where the published one falls with the step: smoothed rewards do not grow
with the number of decisions, so shares would become uniform. Losses are divided by the share of their task only with
``importance_weights``: every task is observed between two decisions, and a quotient is large for a small share.

Source: Online Data Mixing, arXiv:2312.02406; exploration of Exp3 (Auer et al., SIAM J. Comput. 32(1), 2002).
"""

import math
from collections.abc import Mapping, Sequence

from audio_lm.data.config import OnlineConfig

BISECTIONS = 200  # more than a double has bits: the interval ends with two neighbouring numbers


class ShareBandit:
    """Smoothed rewards of the tasks, and the shares that follow from them.

    Args:
        weights: task -> share by the recipe's weights; the sum is one.
    """

    def __init__(self, config: OnlineConfig, weights: Mapping[str, float]) -> None:
        self.config = config
        self.weights = dict(weights)
        self.rewards: dict[str, float] = {}

    def observe(self, losses: Mapping[str, float], shares: Mapping[str, float]) -> None:
        """Add the losses between two decisions to the rewards.

        Args:
            losses: without tasks that had no learned token; these keep their reward.
            shares: under which they were measured.
        """
        kept = self.config.smoothing
        for task, loss in losses.items():
            weight = len(self.weights) * shares[task] if self.config.importance_weights else 1.0
            reward = loss / weight
            self.rewards[task] = kept * self.rewards.get(task, reward) + (1 - kept) * reward

    def shares(self, step: int) -> dict[str, float]:
        """Shares at a step, within the bounds; those of the recipe's weights without any reward."""
        if not self.rewards:
            return dict(self.weights)
        tasks, num_tasks = [*self.weights], len(self.weights)
        powers = [self.config.strength * self.rewards.get(task, 0.0) for task in tasks]
        prior = [self.weights[task] if self.config.prior == "weights" else 1.0 for task in tasks]
        factors = [base * math.exp(power - max(powers)) for base, power in zip(prior, powers, strict=True)]
        explored = exploration(num_tasks, step)
        total = sum(factors)
        shares = [(1 - num_tasks * explored) * factor / total + explored for factor in factors]
        return dict(zip(tasks, within_bounds(shares, *self.config.bounds(tasks)), strict=True))


def exploration(num_tasks: int, step: int) -> float:
    """Share that a task is drawn with at a step, whatever its reward.

    >>> exploration(3, 1), round(exploration(3, 1000), 4)
    (0.3333333333333333, 0.0191)
    """
    return min(1 / num_tasks, math.sqrt(math.log(num_tasks) / (num_tasks * max(1, step))))


def within_bounds(shares: Sequence[float], lows: Sequence[float], highs: Sequence[float]) -> list[float]:
    """Shares within bounds that sum to one; those that no bound holds keep their proportions.

    Args:
        shares: over zero.
        lows: their sum is one or less.
        highs: their sum is one or more.

    >>> [round(share, 3) for share in within_bounds([0.7, 0.2, 0.1], [0, 0, 0.2], [0.5, 1, 1])]
    [0.5, 0.3, 0.2]
    """

    def scaled(factor: float) -> list[float]:
        return [
            min(high, max(low, factor * share)) for share, low, high in zip(shares, lows, highs, strict=True)
        ]

    low, high = 0.0, max(high / share for share, high in zip(shares, highs, strict=True))
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if sum(scaled(middle)) < 1:
            low = middle
        else:
            high = middle
    found = scaled(high)
    return [share / sum(found) for share in found]


def apportion(
    shares: Sequence[float], num_positions: int, owed: Sequence[float]
) -> tuple[list[int], list[float]]:
    """Divide the positions of a window among sources, so that over many windows each has its share.

    Args:
        shares: of the sources (S); the sum is one, and sources with zero get no position.
        owed: positions that each source (S) is owed from the windows before; negative where it had too many.

    Returns:
        Positions of each source (S), and what it is owed then (S).
    """
    drawn = [source for source, share in enumerate(shares) if share > 0]
    quotas = {source: shares[source] * num_positions + owed[source] for source in drawn}
    counts = [0] * len(shares)
    for source in drawn:
        counts[source] = max(0, math.floor(quotas[source]))
    missing = num_positions - sum(counts)
    while missing:
        change = 1 if missing > 0 else -1
        able = drawn if change > 0 else [source for source in drawn if counts[source] > 0]
        chosen = max(able, key=lambda source: (change * (quotas[source] - counts[source]), -source))
        counts[chosen] += change
        missing -= change
    return counts, [
        quotas[source] - counts[source] if source in quotas else 0.0 for source in range(len(shares))
    ]
