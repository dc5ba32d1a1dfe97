"""Table of the runs in a folder: state, scores and mixture, read from their files alone.

A score is marked where no other listed run has a better one under the same benchmark and metric.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from audio_lm.common.errors import DataError, RecipeError, UserError, unknown
from audio_lm.config.load import RECIPE, RUNS
from audio_lm.config.yaml_layers import as_table, read_layer, table_at
from audio_lm.evaluation.report import short_number, with_finite_numbers
from audio_lm.evaluation.score import read_scores
from audio_lm.metrics.registry import find_metric
from audio_lm.run.console import run_console
from audio_lm.run.folder import RunFolder
from audio_lm.run.status import status_of

UNREADABLE = "unreadable"
BEST_MARK = "*"


@dataclass(frozen=True)
class ListedRun:
    """One run of the table."""

    path: str
    state: str
    """State as in ``audio-lm status``, or the reason of the end; ``unreadable`` for a damaged folder."""

    progress: str
    """Stage and step."""

    scores: dict[str, float]
    """``benchmark/metric`` -> score of the trained model, without baselines."""

    mixtures: dict[str, dict[str, float]]
    """Stage -> task -> share of the weights."""


def print_runs(
    folder: Path, *, by: str | None = None, as_json: bool = False, console: Console | None = None
) -> None:
    """Print the runs in a folder, newest first, or best first under one score.

    Args:
        by: ``benchmark/metric``; runs without it come last.

    Raises:
        UserError: the folder holds no runs, or none has the score.
    """
    console = console or run_console()
    runs = _sorted(runs_in(folder), by)
    best = best_scores(runs)
    if as_json:
        records = [
            {**asdict(run), "best": sorted(key for key in run.scores if best[key] == run.scores[key])}
            for run in runs
        ]
        console.print(
            json.dumps(with_finite_numbers(records), indent=1), markup=False, highlight=False, soft_wrap=True
        )
        return
    table = Table(show_lines=True)
    for heading in ("run", "state", "stage", "scores", "mixture"):
        table.add_column(heading, overflow="fold")
    for run in runs:
        scores = [
            f"{key} {short_number(value)}{BEST_MARK * (best[key] == value and len(runs) > 1)}"
            for key, value in run.scores.items()
        ]
        table.add_row(run.path, run.state, run.progress, "\n".join(scores), "\n".join(_mixture_lines(run)))
    console.print(table)
    if len(runs) > 1 and best:
        console.print(f"{BEST_MARK} best of these runs", highlight=False)


def runs_in(folder: Path) -> list[ListedRun]:
    """Runs in a folder or directly below it, newest first.

    Raises:
        UserError: there are none.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder} is no folder -- expected a folder of runs, such as {RUNS} -- name one, or train a recipe first"
        )
    paths = [path.parent for path in folder.glob(f"*/{RECIPE}")]
    if not paths and (folder / RECIPE).is_file():
        paths = [folder]
    if not paths:
        raise UserError(
            f"{folder} holds no runs -- expected folders with a {RECIPE} -- name a folder such as {RUNS}"
        )
    paths.sort(key=lambda path: ((path / RECIPE).stat().st_mtime, path.name), reverse=True)
    return [_listed(path) for path in paths]


def _listed(path: Path) -> ListedRun:
    """A run; one that cannot be read is listed with the reason, since a list is where one looks for it."""
    try:
        status = status_of(path)
        tree = read_layer(path / RECIPE).tree
        scores = read_scores(RunFolder(path).scores)
    except (UserError, DataError, RecipeError) as error:
        return ListedRun(str(path), UNREADABLE, str(error), {}, {})
    reason = status.exit_reason
    progress = f"{status.stage} {status.step}/{status.steps}" if status.stage else ""
    if status.num_stages > 1 and status.stage:
        progress += f", stage {status.stage_number} of {status.num_stages}"
    benchmarks = as_table(table_at(tree, "evaluation.benchmarks"))
    return ListedRun(
        path=str(path),
        state=reason.reason if reason else status.state,
        progress=progress,
        scores={key: value for key, value in scores.items() if key.rpartition("/")[0] in benchmarks},
        mixtures={
            str(name): _shares(as_table(stage)) for name, stage in as_table(tree.get("stages")).items()
        },
    )


def _shares(stage: Mapping[str, Any]) -> dict[str, float]:
    weights = {
        str(task): float(weight) for task, weight in as_table(table_at(stage, "mixture.weights")).items()
    }
    total = sum(weights.values())
    return {task: weight / total for task, weight in weights.items() if total and weight}


def _mixture_lines(run: ListedRun) -> Iterator[str]:
    for stage, shares in run.mixtures.items():
        yield f"{stage}: {', '.join(f'{task} {share:.0%}' for task, share in shares.items())}"


def best_scores(runs: Sequence[ListedRun]) -> dict[str, float]:
    """``benchmark/metric`` -> best score of the runs."""
    keys = dict.fromkeys(key for run in runs for key in run.scores)
    return {
        key: (max if _is_higher_better(key) else min)(run.scores[key] for run in runs if key in run.scores)
        for key in keys
    }


def _is_higher_better(key: str) -> bool:
    return find_metric(key.rpartition("/")[2]).is_higher_better


def _sorted(runs: list[ListedRun], by: str | None) -> list[ListedRun]:
    if by is None:
        return runs
    known = [*dict.fromkeys(key for run in runs for key in run.scores)]
    if by not in known:
        raise UserError(unknown("score", by, known, see="scores.json of the runs"))
    sign = -1 if _is_higher_better(by) else 1
    return sorted(runs, key=lambda run: sign * run.scores[by] if by in run.scores else math.inf)
