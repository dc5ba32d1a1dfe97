"""Status of a sweep, from its folder alone: trials done, running and failed, and the time that is left."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table

from audio_lm.common.audio_units import Seconds
from audio_lm.common.durations import in_words
from audio_lm.common.errors import UserError
from audio_lm.run.status import REFRESH, status_of
from audio_lm.sweep.ledger import Ledger, TrialState
from audio_lm.sweep.workers import num_alive

MAX_METRICS = 6  # columns of the table


@dataclass(frozen=True)
class TrialStatus:
    """One trial."""

    name: str
    purpose: str
    status: str
    shares: dict[str, float]
    settings: dict[str, Any]
    progress: str
    """Stage and step of a running trial; empty for others."""

    done: float
    """Part of the trial that is done, from 0 to 1, by the steps of all its stages."""

    seconds: Seconds
    """Duration of the last start."""

    starts: int
    values: dict[str, float]
    reason: str


@dataclass(frozen=True)
class SweepStatus:
    """A sweep."""

    name: str
    folder: str
    workers: int
    """Workers with a recent life sign."""

    num_sampled_left: int
    """Trials that are not chosen yet."""

    seconds_left: Seconds | None
    """None before the first trial has finished, and without workers."""

    trials: list[TrialStatus] = field(default_factory=list)

    def count(self, *statuses: str) -> int:
        """Number of trials with one of some statuses."""
        return sum(trial.status in statuses for trial in self.trials)

    @property
    def is_over(self) -> bool:
        """True if no trial is left."""
        return not self.count("waiting", "running") and not self.num_sampled_left

    def as_table(self) -> dict[str, Any]:
        """A dict for JSON."""
        return asdict(self)


def status_of_sweep(folder: Path, now: float | None = None) -> SweepStatus:
    """Read the status of a sweep.

    Args:
        now: seconds since the epoch; by default the clock.

    Raises:
        UserError: the folder holds no sweep.
    """
    now = time.time() if now is None else now
    ledger = Ledger(folder)
    state = ledger.state()
    assert state.facts is not None, "state() raises without facts"
    trials = [_trial_status(ledger, one, now) for one in state.trials.values()]
    num_chosen = sum(trial.purpose == "design" for trial in trials)
    num_sampled_left = max(0, state.facts.num_sampled - num_chosen)
    workers = num_alive(folder)
    return SweepStatus(
        state.facts.name,
        str(folder),
        workers,
        num_sampled_left,
        _seconds_left(trials, num_sampled_left, workers),
        trials,
    )


def print_sweep_status(status: SweepStatus, console: Console) -> None:
    """Print the status as a table."""
    console.print(_page(status))


def watch_sweep(folder: Path, console: Console) -> None:
    """Print the status, refreshed until no trial is left."""
    with Live(console=console, auto_refresh=False) as live:
        while True:
            status = status_of_sweep(folder)
            live.update(_page(status), refresh=True)
            if status.is_over:
                return
            time.sleep(REFRESH)


def summary_line(status: SweepStatus) -> str:
    """Counts and time left in one sentence."""
    counts = [f"{status.count(name)} {name}" for name in ("finished", "running", "waiting")]
    counts += [f"{number} {name}" for name in ("failed", "pruned") if (number := status.count(name))]
    counts += [f"{status.num_sampled_left} to be chosen"] if status.num_sampled_left else []
    left = "" if status.seconds_left is None else f"; about {in_words(status.seconds_left)} left"
    workers = f"{status.workers} worker{'' if status.workers == 1 else 's'}"
    return f"{status.name}: {', '.join(counts)}; {workers}{left if not status.is_over else ''}"


def _trial_status(ledger: Ledger, one: TrialState, now: float) -> TrialStatus:
    progress, done = "", float(one.is_over)
    if one.status == "running" or (one.status == "waiting" and one.num_claims):
        progress, done = _progress(ledger.run_folder(one.trial))
    end = now if one.status == "running" else max(one.ended, one.began)
    return TrialStatus(
        name=one.trial.name,
        purpose=one.trial.purpose,
        status=one.status,
        shares=dict(one.trial.shares),
        settings=dict(one.trial.settings),
        progress=progress,
        done=done,
        seconds=end - one.began if one.num_claims else 0.0,
        starts=one.num_claims,
        values=dict(one.values),
        reason=one.reason,
    )


def _progress(run: Path) -> tuple[str, float]:
    """Stage and step of a run, and the part of its stages that is done."""
    try:
        status = status_of(run)
    except UserError:
        return "", 0.0  # it has no folder yet
    if status.stage is None or not status.steps:
        return "", 0.0
    done = (status.stage_number - 1 + status.step / status.steps) / status.num_stages
    return f"{status.stage} {status.step}/{status.steps}", min(done, 1.0)


def _seconds_left(trials: Sequence[TrialStatus], num_more: int, workers: int) -> Seconds | None:
    """Time until the last trial ends, from the median duration of finished ones that were started once."""
    durations = [one.seconds for one in trials if one.status == "finished" and one.starts == 1]
    if not durations or not workers:
        return None
    left = num_more + sum(1 - one.done for one in trials if one.status in ("waiting", "running"))
    return statistics.median(durations) * left / workers


def _page(status: SweepStatus) -> RenderableType:
    metrics = list(dict.fromkeys(name for trial in status.trials for name in trial.values))[:MAX_METRICS]
    tasks = list(dict.fromkeys(task for trial in status.trials for task in trial.shares))
    keys = list(dict.fromkeys(key for trial in status.trials for key in trial.settings))
    table = Table(box=None, pad_edge=False)
    for name in ("trial", "purpose", "status", *tasks, *(key.rpartition(".")[2] for key in keys)):
        table.add_column(name)
    for name in ("time", *metrics, ""):
        table.add_column(name)
    for trial in status.trials:
        shares = [f"{trial.shares[task]:.3f}" if task in trial.shares else "" for task in tasks]
        values = [f"{trial.values[name]:.4g}" if name in trial.values else "" for name in metrics]
        settings = [str(trial.settings.get(key, "")) for key in keys]
        seconds = in_words(trial.seconds) if trial.starts else ""
        starts = f"{trial.starts} starts" if trial.starts > 1 else ""
        remarks = "; ".join(filter(None, (trial.progress, starts, trial.reason)))
        table.add_row(trial.name, trial.purpose, trial.status, *shares, *settings, seconds, *values, remarks)
    return Group(summary_line(status), table)
