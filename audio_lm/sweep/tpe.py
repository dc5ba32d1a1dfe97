"""Points chosen one by one with Optuna's tree-structured Parzen estimator (TPE).

The ledger stays the only record: before each choice a study in memory gets all trials, the first ones and those of other
designs too. Shares are given to Optuna as K - 1 independent numbers from 0 to 1: each is the part of what is left that
a task takes within its bounds. Every such point is a valid mixture, and uniform numbers give uniform mixtures.

Source: stick-breaking of the Dirichlet distribution; Optuna 5, ``create_trial`` and ``add_trial``.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from audio_lm.common.errors import missing_extra
from audio_lm.common.rng import key_of
from audio_lm.sweep.config import KeyConfig
from audio_lm.sweep.definition import Sweep
from audio_lm.sweep.design import num_trials
from audio_lm.sweep.ledger import LedgerState, TrialState
from audio_lm.sweep.objective import Objective
from audio_lm.sweep.results import OTHER_SCALE
from audio_lm.sweep.space import rounded_shares
from audio_lm.sweep.trial import Trial

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

SHARE = "share/"
MAX_TRIES = 50
MIN_VALUES = 8
"""Finished trials before the estimator is used; until then points are uniform."""


class Simplex:
    """Coordinates of shares within bounds: K - 1 numbers from 0 to 1.

    Args:
        names: tasks or groups (K).
        low: smallest shares (K).
        high: largest shares (K).
    """

    def __init__(self, names: Sequence[str], low: Sequence[float], high: Sequence[float]) -> None:
        self.names = [*names]
        self.low, self.high = [*low], [*high]

    def shares(self, coordinates: Sequence[float]) -> dict[str, float]:
        """Shares of a point."""
        used, shares = 0.0, {}
        for at, (name, part) in enumerate(zip(self.names, [*coordinates, 0.0], strict=True)):
            least, most = self._interval(at, used)
            shares[name] = least + (most - least) * (1 - (1 - part) ** (1 / self._num_after(at)))
            used += shares[name]
        return shares

    def coordinates(self, shares: Mapping[str, float]) -> list[float]:
        """Inverse of ``shares``; a point outside the bounds is moved to their edge."""
        used, parts = 0.0, []
        for at, name in enumerate(self.names[:-1]):
            least, most = self._interval(at, used)
            inside = min(max(shares.get(name, 0.0), least), most)
            part = (inside - least) / (most - least) if most > least else 0.0
            parts.append(1 - (1 - part) ** self._num_after(at))
            used += inside
        return parts

    def _num_after(self, at: int) -> int:
        """Number of names after one; 1 for the last, which takes what is left."""
        return max(1, len(self.names) - 1 - at)

    def _interval(self, at: int, used: float) -> tuple[float, float]:
        """Smallest and largest share of a name that leave the names after it within their bounds."""
        left = 1 - used
        least = max(self.low[at], left - sum(self.high[at + 1 :]))
        most = min(self.high[at], left - sum(self.low[at + 1 :]))
        return least, max(least, most)


class TpeSampler:
    """Choice of the next trial of a sweep.

    Args:
        sweep: with the space and the number of trials.

    Raises:
        UserError: Optuna is not installed.
    """

    def __init__(self, sweep: Sweep) -> None:
        try:
            import optuna
        except ImportError as error:
            raise missing_extra("optuna", extra="sweep", purpose="design.kind=tpe") from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.sweep = sweep
        self.objective = Objective.of(sweep.config.metrics)
        space = sweep.shares
        self.simplex = Simplex(space.names, space.low, space.high) if space else Simplex((), (), ())
        self.distributions = _distributions(self.simplex, sweep.space.keys)

    def next_trial(self, state: LedgerState) -> Trial | None:
        """Trial to add; None if there are as many as the design says."""
        sampled = [one for one in state.trials.values() if one.trial.purpose == "design"]
        if len(sampled) >= num_trials(self.sweep):
            return None
        study = self._study(state)
        for _ in range(MAX_TRIES):
            point = study.ask(self.distributions)
            shares, settings = self._point(point.params)
            if self.sweep.allows(shares):
                break
        return self.sweep.trial(state.next_name(), "design", shares, settings)

    def params(self, trial: Trial) -> dict[str, Any]:
        """Point of a trial in Optuna's coordinates."""
        parts = self.simplex.coordinates(trial.shares)
        names = [name for name in self.distributions if name.startswith(SHARE)]
        settings = {
            key: trial.settings[key] if config.log_range else json.dumps(trial.settings[key])
            for key, config in self.sweep.space.keys.items()
        }
        return {**dict(zip(names, parts, strict=True)), **settings}

    def _point(self, params: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, Any]]:
        names = [name for name in self.distributions if name.startswith(SHARE)]
        shares = rounded_shares(self.simplex.shares([params[name] for name in names])) if names else {}
        settings = {
            key: float(f"{params[key]:.4g}") if config.log_range else json.loads(params[key])
            for key, config in self.sweep.space.keys.items()
        }
        return shares, settings

    def _study(self, state: LedgerState) -> "Study":
        """A study with every trial of the ledger; its seed depends on their number."""
        import optuna

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                n_startup_trials=MIN_VALUES,
                multivariate=True,
                constant_liar=True,
                seed=key_of("sweep tpe", self.sweep.config.design.seed, len(state.trials)) % 2**32,
            )
        study = optuna.create_study(sampler=sampler, direction="minimize")
        study.add_trials(
            [known for one in state.trials.values() if (known := self._as_known(one)) is not None]
        )
        return study

    def _as_known(self, one: TrialState) -> "FrozenTrial | None":
        """A trial as Optuna stores it; None for one that says nothing about its point."""
        from optuna.trial import TrialState as OptunaState
        from optuna.trial import create_trial

        if one.trial.purpose in OTHER_SCALE or one.status == "failed":
            return None
        params = self.params(one.trial)
        if any(not self.distributions[name]._contains(value) for name, value in params.items()):
            return None  # a setting of the base recipe that the sweep does not try
        value = self.objective.value(one.values) if one.status == "finished" else None
        states = {"finished": OptunaState.COMPLETE, "pruned": OptunaState.PRUNED}
        if one.status == "finished" and value is None:
            return None
        return create_trial(
            params=params,
            distributions=self.distributions,
            value=value,
            state=states.get(one.status, OptunaState.RUNNING),
        )


def _distributions(simplex: Simplex, keys: Mapping[str, KeyConfig]) -> "dict[str, BaseDistribution]":
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    found: dict[str, BaseDistribution] = {
        f"{SHARE}{name}": FloatDistribution(0.0, 1.0) for name in simplex.names[:-1]
    }
    for key, config in keys.items():
        if config.log_range:
            low, high = config.log_range
            found[key] = FloatDistribution(low, high, log=True)
        else:
            # A list or a table is no category, so values are given as texts.
            found[key] = CategoricalDistribution([json.dumps(value) for value in config.values])
    return found
