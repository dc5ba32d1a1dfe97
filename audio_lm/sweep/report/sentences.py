"""Answers of a sweep in sentences. Nothing under twice the noise is named: such differences are only counted.

Names stand between backquotes, as in Markdown.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from audio_lm.sweep.fit import MIN_TRUST
from audio_lm.sweep.noise import NAMED_SPREADS
from audio_lm.sweep.report.effects import STEP, Difference, Effect, difference, transfer_matrix
from audio_lm.sweep.report.pareto import metric_pairs, pareto_front
from audio_lm.sweep.report.points import BASELINES, BEST, named_points, reference_point
from audio_lm.sweep.report.tables import percent
from audio_lm.sweep.report.view import OBJECTIVE, FitView

WORDS = {
    "recipe": "the recipe's own mixture",
    "uniform": "the uniform mixture",
    "proportional": "the mixture in proportion to the data",
    BEST: "the best mixture",
}
MAX_PAIRS = 6


@dataclass(frozen=True)
class Answers:
    """Sentences of a report by their headings."""

    view: FitView

    def sections(self) -> Mapping[str, list[str]]:
        """Heading -> sentences; headings without a sentence are left out."""
        found = {
            "Best mixture": list(self._best()),
            "Against the baselines": list(self._baselines()),
            "Trust": list(self._trust()),
            "What a task gives to the others": list(self._transfer()),
            "Trade-offs": list(self._trade_offs()),
            "Left out": list(self._left_out()),
        }
        return {heading: sentences for heading, sentences in found.items() if sentences}

    def _best(self) -> Iterator[str]:
        view, best = self.view, self.view.fit.best
        if best is None:
            yield f"No mixture is recommended: {view.fit.why_none}."
            return
        shares = sorted(zip(best.shares.tolist(), view.tasks, strict=True), reverse=True)
        listed = _listed(f"{code(task)} {percent(share)} %" for share, task in shares)
        yield f"The best predicted mixture is {listed} of the varied part."
        if view.settings:
            values = _listed(f"{code(f'{key}={value}')}" for key, value in view.settings.items())
            yield f"It goes with {values}."
        if OBJECTIVE in view.names:
            low, high = (view.text(OBJECTIVE, value) for value in best.interval)
            value = view.text(OBJECTIVE, best.objective)
            yield f"Its objective is predicted as {value}, for a run with any seed between {low} and {high} (95 % interval)."
        for name in view.metrics:
            value, low, high = (view.text(name, number) for number in best.per_metric[name])
            yield f"{code(name)} is predicted as {value} ({low} to {high})."

    def _baselines(self) -> Iterator[str]:
        points = named_points(self.view.fit)
        if BEST not in points:
            return
        for name in BASELINES:
            if name in points:
                found = [
                    difference(self.view, metric, points[name], points[BEST]) for metric in self.view.names
                ]
                yield self._compared(found, WORDS[name])

    def _compared(self, differences: Sequence[Difference], words: str) -> str:
        better = [self._amount(one) for one in differences if one.is_named and one.is_better]
        worse = [self._amount(one) for one in differences if one.is_named and not one.is_better]
        unnamed = [code(one.metric) for one in differences if not one.is_named]
        parts = [f"better by {_listed(better)}"] if better else []
        parts += [f"worse by {_listed(worse)}"] if worse else []
        text = f"Compared with {words}, the best mixture is predicted to be {' and '.join(parts)}"
        if not parts:
            text = f"Compared with {words}, no metric differs by more than the noise allows to say"
        return text + (f"; not distinguishable: {_listed(unnamed)}." if parts and unnamed else ".")

    def _amount(self, one: Difference) -> str:
        low, high = sorted((abs(one.low), abs(one.high)))
        value, low_text, high_text = (
            self.view.text(one.metric, number) for number in (abs(one.change), low, high)
        )
        return f"{value} in {code(one.metric)} ({low_text} to {high_text})"

    def _trust(self) -> Iterator[str]:
        view, fit = self.view, self.view.fit
        yield (
            f"On mixtures that were left out of the fit, the predicted order of the objective has a rank correlation of "
            f"{fit.trust:.2f} with the measured one; below {MIN_TRUST:g} nothing is recommended."
        )
        known = {name: view.noise(name) for name in view.names if math.isfinite(view.noise(name))}
        if not known:
            yield "No mixture was run with several seeds, so the noise is not known and no effect is named."
            return
        listed = _listed(f"{noise:.2g} in {code(name)}" for name, noise in known.items())
        yield (
            f"Runs of the same mixture with other seeds differ with a standard deviation of {listed}; differences of less than "
            f"{NAMED_SPREADS:g} times that are not named."
        )
        if unknown := [code(name) for name in view.names if name not in known]:
            yield f"The noise of {_listed(unknown)} is not known, so no effect on it is named."
        yield from self._sanity()

    def _sanity(self) -> Iterator[str]:
        """Reaction of the metrics to the deliberately bad mixture, as measured."""
        bad, recipe = self.view.trials_of(["bad"]), self.view.trials_of(["recipe", "repeat"])
        if not bad or not recipe:
            return
        moved: list[str] = []
        still: list[str] = []
        for name in self.view.names:
            values = self.view.measured(name)
            change = abs(float(np.nanmean(values[bad]) - np.nanmean(values[recipe])))
            (moved if change >= self.view.threshold(name) else still).append(code(name))
        if moved:
            yield f"The deliberately bad mixture moves {_listed(moved)}, so these react to the mixture at all."
        if still:
            yield (
                f"It does not move {_listed(still)} by more than the noise."
                if moved
                else "The deliberately bad mixture moves no metric by more than the noise: trials are too short, or "
                "the mixture does not matter here."
            )

    def _transfer(self) -> Iterator[str]:
        at, shares = reference_point(self.view.fit)
        effects = [effect for row in transfer_matrix(self.view, shares).values() for effect in row]
        named = [effect for effect in effects if effect.is_named]
        for task in self.view.tasks:
            mine = [effect for effect in named if effect.task == task]
            if mine:
                yield self._effects_of(task, mine, WORDS.get(at, at))
        unnamed = sum(effect.difference is not None and not effect.is_named for effect in effects)
        if unnamed:
            yield f"{unnamed} of {len(effects)} effects are within the noise."
        if fixed := sorted({effect.task for effect in effects if effect.difference is None}):
            yield f"The bounds fix the share of {_listed(map(code, fixed))}, so it has no effect."

    def _effects_of(self, task: str, effects: Sequence[Effect], around: str) -> str:
        better = [self._step(one) for one in effects if one.difference and one.difference.is_better]
        worse = [self._step(one) for one in effects if one.difference and not one.difference.is_better]
        parts = [f"improve {_listed(better)}"] if better else []
        parts += [f"worsen {_listed(worse)}"] if worse else []
        return f"Around {around}, {100 * STEP:.0f} points more of {code(task)} {' and '.join(parts)}."

    def _step(self, effect: Effect) -> str:
        assert effect.per_step is not None, "a named effect has a difference"
        metric = effect.difference.metric if effect.difference else ""
        change, low, high = effect.per_step
        low, high = sorted((abs(low), abs(high)))
        texts = [self.view.text(metric, value) for value in (abs(change), low, high)]
        return f"{code(metric)} by {texts[0]} ({texts[1]} to {texts[2]})"

    def _trade_offs(self) -> Iterator[str]:
        """Measured trials that no other trial beats in a pair of metrics."""
        pairs = metric_pairs(self.view)
        for pair in pairs[:MAX_PAIRS]:
            costs = np.stack([self.view.cost(name, self.view.measured(name)) for name in pair], axis=1)
            thresholds = [self.view.threshold(name) for name in pair]
            if not all(map(math.isfinite, thresholds)):
                continue
            front = pareto_front(costs, np.array(thresholds))
            runs = [self.view.fit.table.runs[row] for row in front]
            known = int(np.isfinite(costs).all(axis=1).sum())
            spread = np.ptp(costs[front], axis=0)
            if np.all(spread < thresholds):
                yield f"Between {code(pair[0])} and {code(pair[1])} there is no trade-off: the same trials are best in both."
            else:
                yield (
                    f"Between {code(pair[0])} and {code(pair[1])}, {len(front)} of {known} trials are on the Pareto front, "
                    f"from {runs[0]} (first in {code(pair[0])}, as measured) to {runs[-1]} (first in {code(pair[1])})."
                )
        if len(pairs) > MAX_PAIRS:
            yield f"{len(pairs) - MAX_PAIRS} more pairs of metrics are on the page."

    def _left_out(self) -> Iterator[str]:
        for sentence in self.view.fit.left_out:
            yield sentence.rstrip(".") + "."


def code(name: str) -> str:
    """Name between backquotes."""
    return "`" + name.replace("`", "'") + "`"


def _listed(items: Iterable[str]) -> str:
    """Items with commas and a last `and`."""
    items = list(items)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""
