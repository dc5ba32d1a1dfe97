"""Interactive page of a report: one HTML file with its data, which makes no request.

The template, its styles and its script are ``page.html``, ``page.css`` and ``page.js`` beside this module.

Shapes: N mixtures, K tasks or groups.
"""

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np
from matplotlib.colors import to_hex

from audio_lm.sweep.report.effects import Effect, transfer_matrix
from audio_lm.sweep.report.points import BEST, candidates, named_points, reference_point, triangle_grid
from audio_lm.sweep.report.slices import slice_of
from audio_lm.sweep.report.style import noise_note, scale_of
from audio_lm.sweep.report.view import FitView
from audio_lm.sweep.table import Floats

CANDIDATES = 1500
DIVISIONS = 40
POINTS_OF_SLICE = 25
DIGITS = 6  # significant ones of a number


def page_html(view: FitView, *, title: str, subtitle: str, sections: Mapping[str, Sequence[str]]) -> str:
    """Render the page.

    Args:
        sections: heading -> sentences with names between backquotes.
    """
    data = {"subtitle": subtitle, "sections": sections, **page_data(view)}
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    value_of_placeholder = {
        "TITLE": escape(title),
        "DATA": text.replace("<", "\\u003c"),
        "STYLE": _resource("page.css"),
        "SCRIPT": _resource("page.js"),
    }
    # One pass over the template, so that placeholders in a name are not replaced.
    return "".join(value_of_placeholder.get(part, part) for part in _resource("page.html").split("@@"))


def _resource(name: str) -> str:
    return files("audio_lm.sweep.report").joinpath(name).read_text(encoding="utf-8").rstrip("\n")


def page_data(view: FitView) -> dict[str, Any]:
    """Content of the page as JSON: trials, predictions at many mixtures, slices, effects."""
    points = named_points(view.fit)
    grid = triangle_grid(DIVISIONS) if len(view.tasks) == 3 else None
    some = candidates(view.fit, CANDIDATES)
    at, shares = reference_point(view.fit)
    return {
        "tasks": view.tasks,
        "names": view.names,
        "metrics": view.metrics,
        "is_min": {name: view.is_min(name) for name in view.names},
        "is_log": {name: view.is_log(name) for name in view.names},
        "digits": {name: view.digits(name) for name in view.names},
        "threshold": {name: _finite(view.threshold(name)) for name in view.names},
        "weights": {name: view.fit.metrics[name].weight for name in view.metrics},
        "bounds": _numbers(view.fit.bounds),
        "noise_note": noise_note(view).capitalize() + ".",
        "bands": {name: _bands(view, name, some if grid is None else grid) for name in view.names},
        "points": {name: _numbers(one) for name, one in points.items()},
        "predicted": {name: _predicted(view, one) for name, one in points.items()},
        "best": _predicted(view, points[BEST]) if BEST in points else None,
        "reference": {
            "name": at,
            "mean": _predicted(view, shares),
            "deviation": {
                name: _finite(float(view.predict(name, shares[None])[1][0])) for name in view.names
            },
        },
        "trials": _trials(view),
        "grid": None if grid is None else {"divisions": DIVISIONS, **_predictions(view, grid)},
        "candidates": {"shares": _numbers(some), **_predictions(view, some)},
        "slices": {name: _slices(view, one) for name, one in points.items()},
        "effects": {name: _effects(view, one) for name, one in points.items()},
    }


def _finite(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def _numbers(values: Floats) -> Any:
    """Nested lists with a few significant digits; null for NaN."""
    return [_numbers(one) for one in values] if values.ndim else _finite(float(values))


def _predictions(view: FitView, shares: Floats) -> dict[str, dict[str, Any]]:
    """Mean and standard deviation of every metric at mixtures (N, K)."""
    predicted = {name: view.predict(name, shares) for name in view.names}
    return {
        "mean": {name: _numbers(mean) for name, (mean, _) in predicted.items()},
        "deviation": {name: _numbers(deviation) for name, (_, deviation) in predicted.items()},
    }


def _predicted(view: FitView, shares: Floats) -> dict[str, float | None]:
    return {name: _finite(float(view.predict(name, shares[None])[0][0])) for name in view.names}


def _bands(view: FitView, name: str, shares: Floats) -> dict[str, Any]:
    """Limits and colours of the bands of a metric, over predictions and measured values."""
    measured = view.measured(name)
    values = np.concatenate([view.predict(name, shares)[0], measured[np.isfinite(measured)]])
    scale = scale_of(values, is_min=view.is_min(name), threshold=view.threshold(name))
    middles = (scale.levels[1:] + scale.levels[:-1]) / 2
    return {
        "levels": _numbers(scale.levels),
        "colours": [to_hex(scale.cmap(scale.norm(middle))) for middle in middles],
    }


def _trials(view: FitView) -> list[dict[str, Any]]:
    table = view.fit.table
    values = {name: _numbers(view.measured(name)) for name in view.names}
    return [
        {
            "run": run,
            "purpose": table.purposes[row] if table.purposes else "",
            "shares": _numbers(table.shares[row]),
            "settings": {key: column[row] for key, column in table.settings.items()},
            "values": {name: column[row] for name, column in values.items()},
        }
        for row, run in enumerate(table.runs)
    ]


def _slices(view: FitView, shares: Floats) -> dict[str, list[dict[str, Any] | None]]:
    found: dict[str, list[dict[str, Any] | None]] = {}
    for name in view.names:
        curves = [
            slice_of(view, name, task, shares, points=POINTS_OF_SLICE) for task in range(len(view.tasks))
        ]
        found[name] = [
            None
            if curve is None
            else {
                "shares": _numbers(curve.shares),
                "mean": _numbers(curve.mean),
                "half": _numbers(curve.half_width),
            }
            for curve in curves
        ]
    return found


def _effects(view: FitView, shares: Floats) -> dict[str, list[dict[str, Any]]]:
    return {
        name: [_effect(effect) for effect in effects]
        for name, effects in transfer_matrix(view, shares).items()
    }


def _effect(effect: Effect) -> dict[str, Any]:
    """Effect for the page; one that is not named has no number there."""
    if effect.difference is None or effect.per_step is None or not effect.is_named:
        return {"is_named": False, "why": effect.why_unnamed}
    change, low, high = effect.per_step
    return {
        "is_named": True,
        "change": _finite(change),
        "low": _finite(low),
        "high": _finite(high),
        "is_better": effect.difference.is_better,
        "strength": round(effect.strength, 3),
    }
