"""The shared view of MLflow's page of runs: a column for each setting that differs between runs, and for each score.

Without it the page shows neither parameters nor metrics until somebody selects them. MLflow keeps shared views in tags of
the experiment, which its page offers under "Views" and opens where the address names one.

Source: mlflow 3.17, ``server/js``: ``useSharedExperimentViewState`` and the envelope of saved views;
``mlflow/demo/generators/saved_views.py`` has the same format.
"""

import base64
import json
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from audio_lm.tracking.facts import SHARE, WEIGHT, is_score

VIEW = "audio_lm"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
TITLE = "mixtures and scores"
MAX_COLUMNS = 30
MAX_RUNS = 200  # newest runs whose settings are compared
CHARACTER_WIDTH, MARGIN, MIN_WIDTH, MAX_WIDTH = 7, 24, 88, 140  # pixels of a column


class Columns(NamedTuple):
    """Parameters and metrics of one run, and the task of every benchmark."""

    params: Mapping[str, str]
    metrics: Mapping[str, float]
    task_of_benchmark: Mapping[str, str]


def task_of_benchmark(tag: str) -> dict[str, str]:
    """Task of every benchmark of a run, from its tag; empty if somebody has edited it.

    >>> task_of_benchmark('{"digits": "asr"}'), task_of_benchmark("digits")
    ({'digits': 'asr'}, {})
    """
    try:
        return {str(benchmark): str(task) for benchmark, task in json.loads(tag).items()}
    except (ValueError, AttributeError):
        return {}


def runs_address(experiment_id: str) -> str:
    """Address of the view on a server, after the server's own.

    The type of the workflow keeps MLflow 3 from opening its pages for language model applications.

    >>> runs_address("1")
    '#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=audio_lm'
    """
    return f"#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={VIEW}"


def view_of_runs(runs: Sequence[Columns], *, time_ms: int) -> str | None:
    """Value of the view's tag; None if there is nothing to show.

    Args:
        runs: the newest first.
    """
    differing = list(_differing_params(runs))
    tasks = {name.rpartition("/")[2] for name in differing if name.startswith(f"{WEIGHT}/")}
    columns = [*_mixture_columns(runs, differing), *_score_columns(runs, tasks)][:MAX_COLUMNS]
    if not columns:
        return None
    widths = {column: _width(column) for column in columns}
    state = {"selectedColumns": columns, "columnOrder": columns, "columnWidths": widths}
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    return json.dumps(
        {"name": TITLE, "createdAt": time_ms, "updatedAt": time_ms, "state": f"deflate;{packed}"}
    )


def experiment_note(experiment_id: str) -> str:
    """Description of an experiment that has none: a link to the view."""
    return f"[Mixtures beside scores of all runs]({runs_address(experiment_id)})"


def _differing_params(runs: Sequence[Columns]) -> Iterator[str]:
    for name in dict.fromkeys(name for run in runs for name in run.params):
        if len({run.params.get(name) for run in runs}) > 1:
            yield name


def _mixture_columns(runs: Sequence[Columns], differing: Sequence[str]) -> Iterator[str]:
    """Yield the parameters that differ between runs; the realised share follows each weight."""
    for name in differing:
        yield f"params.`{name}`"
        table, _, task = name.partition("/")
        share = f"{SHARE}/{task}"
        if table == WEIGHT and any(share in run.metrics for run in runs):
            yield f"metrics.`{share}`"


def _score_columns(runs: Sequence[Columns], tasks: Collection[str]) -> list[str]:
    """Scores, those of some tasks first."""
    task_of_benchmark = {name: task for run in runs for name, task in run.task_of_benchmark.items()}
    names = dict.fromkeys(name for run in runs for name in run.metrics if is_score(name))
    first = sorted(names, key=lambda name: task_of_benchmark.get(name.partition("/")[0]) not in tasks)
    return [f"metrics.`{name}`" for name in first]


def _width(column: str) -> int:
    num_characters = len(column.split("`")[1])
    return max(MIN_WIDTH, min(MAX_WIDTH, CHARACTER_WIDTH * num_characters + MARGIN))
