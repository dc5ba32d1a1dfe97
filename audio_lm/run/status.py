"""Status of a run, read from its folder alone: while it trains, from another machine, or after it has ended."""

import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from audio_lm.checkpoints.manifest import fault_of, read_manifest
from audio_lm.common.audio_units import Seconds
from audio_lm.common.errors import CheckpointError, RecipeError, UserError
from audio_lm.common.files import read_table, text_fault
from audio_lm.config.yaml_layers import read_layer
from audio_lm.fault_tolerance.exit_status import ExitReason, read_exit_reason
from audio_lm.fault_tolerance.heartbeat import beats_in
from audio_lm.fault_tolerance.restarts import RankError, errors_in, num_restarts

REFRESH: Seconds = 2.0
MAX_AGE: Seconds = 10.0  # of a heartbeat; a rank with an older one is silent
NAME = re.compile(r"step-\d+")  # as in ``checkpoints.discovery``, which takes seconds to import


@dataclass(frozen=True)
class RankStatus:
    """One rank, from its last heartbeat."""

    rank: int
    host: str
    pid: int
    phase: str
    step: int | None
    step_seconds: Seconds | None
    busy_seconds: Seconds
    """Part of a step without waiting for other ranks: loading of data and CPU time of the training thread."""

    age: Seconds
    """Of the heartbeat."""


@dataclass(frozen=True)
class CheckpointStatus:
    """The newest valid checkpoint."""

    path: str
    step: int
    age: Seconds


@dataclass(frozen=True)
class RunStatus:
    """Everything that the folder of a run shows about its state."""

    run: str
    state: str
    """running, silent, ended or not started."""

    stage: str | None
    stage_number: int
    num_stages: int
    step: int
    steps: int | None
    steps_per_second: float | None
    seconds_left: Seconds | None
    """Of the stage."""

    checkpoint: CheckpointStatus | None
    restarts: int
    slowest_rank: int | None
    ranks: list[RankStatus]
    exit_reason: ExitReason | None
    errors: list[RankError]
    """Of the newest start."""


def status_of(path: Path, now: float | None = None) -> RunStatus:
    """Read the status of a run.

    Args:
        now: seconds since the epoch; by default the clock.

    Raises:
        UserError: the folder holds no run.
    """
    if not (path / "recipe.yaml").is_file():
        raise UserError(
            f"{path} holds no run (recipe.yaml is missing); name a folder such as runs/demo-1a2b3c4d"
        )
    now = time.time() if now is None else now
    stages = _stages_in(path / "recipe.yaml")
    beats = beats_in(path)
    newest = max((beat["attempt"] for beat in beats), default=0)
    beats = sorted((beat for beat in beats if beat["attempt"] == newest), key=lambda beat: int(beat["rank"]))
    name = _stage_at(path, beats, [name for name, _ in stages])
    ranks = [_rank_status(beat, now) for beat in beats]
    checkpoint = _checkpoint_in(path / "stages" / name, now) if name else None
    step = _step(beats, name, path, checkpoint)
    steps = dict(stages)[name]["steps"] if name else None
    slowest = max((rank.step_seconds for rank in ranks if rank.step_seconds is not None), default=None)
    reason = read_exit_reason(path)
    return RunStatus(
        run=str(path),
        state=_state(ranks, reason),
        stage=name,
        stage_number=1 + [*dict(stages)].index(name) if name else 0,
        num_stages=len(stages),
        step=step,
        steps=steps,
        steps_per_second=1 / slowest if slowest else None,
        seconds_left=(steps - step) * slowest if slowest and steps is not None else None,
        checkpoint=checkpoint,
        restarts=num_restarts(path),
        slowest_rank=_slowest(ranks),
        ranks=ranks,
        exit_reason=reason,
        errors=[error for error in errors_in(path) if error.attempt == newest],
    )


def _stages_in(recipe: Path) -> list[tuple[str, dict[str, Any]]]:
    """Names of a run's stages with the settings used here."""
    fault = text_fault(recipe)
    try:
        stages = {} if fault else read_layer(recipe).tree["stages"]
        settings = [(str(name), {"steps": int(stage["steps"])}) for name, stage in stages.items()]
    except (RecipeError, KeyError, TypeError, ValueError, AttributeError) as error:
        fault = f"it is not a recipe, {type(error).__name__}"
    if fault:
        raise UserError(f"{recipe} is damaged ({fault}); resume the run, which writes it again")
    return settings


def _stage_at(path: Path, beats: list[dict[str, Any]], names: list[str]) -> str | None:
    """The stage that the ranks train, or the last one that was started."""
    for beat in beats:
        if beat["stage"] in names:
            return str(beat["stage"])
    started = [name for name in names if (path / "stages" / name / "status.json").is_file()]
    return started[-1] if started else None


def _step(
    beats: list[dict[str, Any]], name: str | None, path: Path, checkpoint: CheckpointStatus | None
) -> int:
    steps = [int(beat["step"]) for beat in beats if beat["stage"] == name and beat["step"] is not None]
    if steps:
        return min(steps)
    saved = read_table(path / "stages" / name / "status.json").get("step", 0) if name else 0
    return max(int(saved), checkpoint.step if checkpoint else 0)


def _rank_status(beat: dict[str, Any], now: float) -> RankStatus:
    return RankStatus(
        rank=beat["rank"],
        host=beat["host"],
        pid=beat["pid"],
        phase=beat["phase"],
        step=beat["step"],
        step_seconds=beat["step_seconds"],
        busy_seconds=beat["busy_seconds"] or 0.0,
        age=max(0.0, now - beat["time"]),
    )


def _slowest(ranks: list[RankStatus]) -> int | None:
    """The rank that the others wait for: a silent one, else the one at the lowest step, else the busiest."""
    if not ranks:
        return None
    return max(ranks, key=lambda rank: (rank.age > MAX_AGE, -(rank.step or 0), rank.busy_seconds)).rank


def _state(ranks: list[RankStatus], reason: ExitReason | None) -> str:
    if reason is not None:
        return "ended"
    if not ranks:
        return "not started"
    return "silent" if all(rank.age > MAX_AGE for rank in ranks) else "running"


def _checkpoint_in(stage: Path, now: float) -> CheckpointStatus | None:
    """The newest checkpoint of a stage whose files have the sizes in its manifest."""
    folders = [path for path in (stage / "checkpoints").glob("step-*") if NAME.fullmatch(path.name)]
    for folder in sorted(folders, reverse=True):
        try:
            manifest = read_manifest(folder)
        except CheckpointError:
            continue
        if fault_of(folder, manifest) is None:
            return CheckpointStatus(str(folder), manifest.step, max(0.0, now - folder.stat().st_mtime))
    return None


def as_table(status: RunStatus) -> dict[str, Any]:
    """Convert a status to a dict for JSON."""
    return asdict(status)


def print_status(status: RunStatus, console: Console) -> None:
    """Print a status as a table."""
    console.print(_page(status))


def watch_status(path: Path, console: Console) -> None:
    """Print the status of a run, refreshed until it has ended."""
    with Live(console=console, auto_refresh=False) as live:
        while True:
            status = status_of(path)
            live.update(_page(status), refresh=True)
            if status.exit_reason is not None:
                return
            time.sleep(REFRESH)


def _page(status: RunStatus) -> RenderableType:
    facts = Table(show_header=False, box=None, pad_edge=False)
    for name, value in _facts(status):
        facts.add_row(name, value)
    return Group(facts, _rank_table(status)) if status.ranks else facts


def _facts(status: RunStatus) -> list[tuple[str, str]]:
    place = "" if status.stage is None else f"{status.stage} ({status.stage_number} of {status.num_stages})"
    facts = [
        ("run", f"{status.run}: {status.state}"),
        ("stage", place),
        ("step", f"{status.step} of {status.steps}"),
    ]
    if status.steps_per_second and status.seconds_left is not None:
        facts.append(("speed", f"{status.steps_per_second:.3g} steps/s, {_span(status.seconds_left)} left"))
    last = status.checkpoint
    facts.append(
        (
            "checkpoint",
            "none yet" if last is None else f"step {last.step}, {_span(last.age)} old: {last.path}",
        )
    )
    facts.append(("restarts", str(status.restarts)))
    if status.slowest_rank is not None:
        facts.append(("slowest rank", str(status.slowest_rank)))
    if status.exit_reason is not None:
        facts.append(("ended", f"{status.exit_reason.reason}: {status.exit_reason.sentence}"))
    return facts + [("error", error.sentence) for error in status.errors]


def _rank_table(status: RunStatus) -> Table:
    table = Table()
    for name in ("rank", "host", "pid", "step", "phase", "s/step", "busy", "heartbeat"):
        table.add_column(name)
    for rank in status.ranks:
        seconds = "" if rank.step_seconds is None else f"{rank.step_seconds:.3g}"
        is_late = rank.age > MAX_AGE and status.exit_reason is None
        age = Text(f"{_span(rank.age)} ago", style="red" if is_late else "")
        table.add_row(
            str(rank.rank),
            rank.host,
            str(rank.pid),
            str(rank.step),
            rank.phase,
            seconds,
            f"{rank.busy_seconds:.3g}",
            age,
        )
    return table


def _span(seconds: Seconds) -> str:
    """Format a duration.

    >>> _span(3), _span(200), _span(8000)
    ('3 s', '3 min', '2.2 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
