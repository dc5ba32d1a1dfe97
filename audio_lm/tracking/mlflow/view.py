"""MLflow's page of the runs of an experiment: a shared view with columns of mixtures and scores, and a description.

Without a view the page shows neither parameters nor metrics until somebody selects them. MLflow keeps shared views in tags
of the experiment, which its page offers under "Views" and opens where the address names one. The first line of the
experiment's description is on the page in any case.

Source: mlflow 3.17, ``server/js``: ``useSharedExperimentViewState`` and the envelope of saved views;
``mlflow/demo/generators/saved_views.py`` has the same format.
"""

import base64
import json
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from audio_lm.common.markdown_table import markdown_table
from audio_lm.tracking.facts import SHARE, WEIGHT, is_score

VIEW = "audio_lm"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
TITLE = "mixtures and scores"
NOTE_START = "[Mixtures beside scores]"  # of our description; another one is somebody's own
MAX_NOTE_LENGTH = 4900  # mlflow 3 allows 5000
MAX_IN_LINE = 6
MAX_COLUMNS = 30
MAX_RUNS = 200  # newest runs whose settings are compared
CHARACTER_WIDTH, MARGIN, MIN_WIDTH, MAX_WIDTH = 7, 24, 88, 155  # pixels of a column


class RunColumns(NamedTuple):
    """Name, parameters and metrics of one run, and the task of every benchmark."""

    name: str
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


def columns_of(runs: Sequence[RunColumns]) -> list[str]:
    """Columns of the view, as MLflow names them: settings that differ, shares of tasks with such a weight, scores.

    Args:
        runs: the newest first.
    """
    differing = list(_differing_params(runs))
    tasks = {name.rpartition("/")[2] for name in differing if name.startswith(f"{WEIGHT}/")}
    return [*_mixture_columns(runs, differing), *_score_columns(runs, tasks)][:MAX_COLUMNS]


def view_of(columns: Sequence[str], *, time_ms: int) -> str:
    """Value of the view's tag."""
    widths = {column: _width(column) for column in columns}
    state = {"selectedColumns": columns, "columnOrder": columns, "columnWidths": widths}
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    return json.dumps(
        {"name": TITLE, "createdAt": time_ms, "updatedAt": time_ms, "state": f"deflate;{packed}"}
    )


def experiment_note(experiment_id: str, columns: Sequence[str], runs: Sequence[RunColumns]) -> str:
    """Description of an experiment: one line with a link to the view and the first score of each run, and a table.

    Args:
        columns: of the view.
        runs: the newest first; as many as fit into a tag.
    """
    heading = ["run", *map(_name, columns)]
    line = f"{NOTE_START}({runs_address(experiment_id)}){_first_scores(columns, runs)}"
    for num_runs in range(len(runs), 0, -1):
        rows = [[run.name, *(_value(run, column) for column in columns)] for run in runs[:num_runs]]
        note = f"{line}\n\n{markdown_table([heading, *rows], num_text_columns=1)}"
        if len(note) <= MAX_NOTE_LENGTH:
            return note
    return line


def _first_scores(columns: Sequence[str], runs: Sequence[RunColumns]) -> str:
    """Values of the first score, in words."""
    scores = [column for column in columns if column.startswith("metrics.") and is_score(_name(column))]
    values = [(run.name, _value(run, column)) for column in scores[:1] for run in runs]
    texts = [f"{name} **{value}**" for name, value in values if value][:MAX_IN_LINE]
    return f": {_name(scores[0])} of {', '.join(texts)}" if texts else ""


def _name(column: str) -> str:
    return column.split("`")[1]


def _value(run: RunColumns, column: str) -> str:
    """Value of a run in a column; empty if it has none."""
    name = _name(column)
    if column.startswith("params."):
        return run.params.get(name, "")
    return f"{run.metrics[name]:.4g}" if name in run.metrics else ""


def _differing_params(runs: Sequence[RunColumns]) -> Iterator[str]:
    for name in dict.fromkeys(name for run in runs for name in run.params):
        if len({run.params.get(name) for run in runs}) > 1:
            yield name


def _mixture_columns(runs: Sequence[RunColumns], differing: Sequence[str]) -> Iterator[str]:
    """Yield the parameters that differ between runs; the realised share follows each weight."""
    for name in differing:
        yield f"params.`{name}`"
        table, _, task = name.partition("/")
        share = f"{SHARE}/{task}"
        if table == WEIGHT and any(share in run.metrics for run in runs):
            yield f"metrics.`{share}`"


def _score_columns(runs: Sequence[RunColumns], tasks: Collection[str]) -> list[str]:
    """Scores, those of some tasks first."""
    task_of_benchmark = {name: task for run in runs for name, task in run.task_of_benchmark.items()}
    names = dict.fromkeys(name for run in runs for name in run.metrics if is_score(name))
    first = sorted(names, key=lambda name: task_of_benchmark.get(name.partition("/")[0]) not in tasks)
    return [f"metrics.`{name}`" for name in first]


def _width(column: str) -> int:
    return max(MIN_WIDTH, min(MAX_WIDTH, CHARACTER_WIDTH * len(_name(column)) + MARGIN))
