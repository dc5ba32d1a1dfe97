"""How a run is, told from its folder alone: while it trains, from another machine, or after its death."""

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
OLD: Seconds = 10.0  # a pulse that old is worth a colour
NAME = re.compile(r"step-\d+")  # as in ``checkpoints.shelf``, which needs seconds to import


@dataclass(frozen=True)
class RankStatus:
    """One rank, by its last pulse."""

    rank: int
    host: str
    pid: int
    phase: str
    step: int | None
    step_seconds: Seconds | None
    busy_seconds: Seconds
    """Of a step, less what was waited for others: data and the processor's time of the training thread."""

    age: Seconds
    """Of the pulse."""


@dataclass(frozen=True)
class CheckpointStatus:
    """The newest checkpoint that is whole."""

    path: str
    step: int
    age: Seconds


@dataclass(frozen=True)
class RunStatus:
    """Everything that is known."""

    run: str
    state: str
    """running, silent, ended or not begun."""

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
    """Of the last try."""


def status_of(path: Path, now: float | None = None) -> RunStatus:
    """Read a run's folder.

    Args:
        now: seconds since the epoch.

    Raises:
        UserError: the folder holds no run.
    """
    if not (path / "recipe.yaml").is_file():
        raise UserError(
            f"{path} holds no run (recipe.yaml is not there); name a folder such as runs/demo-1a2b3c4d"
        )
    now = time.time() if now is None else now
    stages = _stages_in(path / "recipe.yaml")
    beats = beats_in(path)
    newest = max((beat["attempt"] for beat in beats), default=0)
    beats = sorted((one for one in beats if one["attempt"] == newest), key=lambda beat: int(beat["rank"]))
    name = _stage_at(path, beats, [name for name, _ in stages])
    ranks = [_rank_status(beat, now) for beat in beats]
    known = [one for one in ranks if one.step_seconds is not None]
    checkpoint = _checkpoint_in(path / "stages" / name, now) if name else None
    step = _step(beats, name, path, checkpoint)
    steps = dict(stages)[name]["steps"] if name else None
    slowest = max((one.step_seconds or 0.0 for one in known), default=None)
    reason = read_exit_reason(path)
    return RunStatus(
        run=str(path),
        state=_state(ranks, reason),
        stage=name,
        stage_number=1 + [one for one, _ in stages].index(name) if name else 0,
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
    """Stages of a run's recipe."""
    fault = text_fault(recipe)
    try:
        stages = {} if fault else read_layer(recipe).tree["stages"]
        found = [(str(name), {"steps": int(stage["steps"])}) for name, stage in stages.items()]
    except (RecipeError, KeyError, TypeError, ValueError, AttributeError) as error:
        fault = f"it is no recipe, {type(error).__name__}"
    if fault:
        raise UserError(f"{recipe} is damaged ({fault}); resume the run, which writes it again")
    return found


def _stage_at(path: Path, beats: list[dict[str, Any]], names: list[str]) -> str | None:
    """The stage that the ranks are in, or the last one that was begun."""
    for beat in beats:
        if beat["stage"] in names:
            return str(beat["stage"])
    begun = [name for name in names if (path / "stages" / name / "status.json").is_file()]
    return begun[-1] if begun else None


def _step(
    beats: list[dict[str, Any]], name: str | None, path: Path, checkpoint: CheckpointStatus | None
) -> int:
    steps = [int(beat["step"]) for beat in beats if beat["stage"] == name and beat["step"] is not None]
    if steps:
        return min(steps)
    kept = read_table(path / "stages" / name / "status.json").get("step", 0) if name else 0
    return max(int(kept), checkpoint.step if checkpoint else 0)


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
    """The rank that the others wait for: one that is silent, the least far, the one with the most of its own to do."""
    if not ranks:
        return None
    return max(ranks, key=lambda one: (one.age > OLD, -(one.step or 0), one.busy_seconds)).rank


def _state(ranks: list[RankStatus], reason: ExitReason | None) -> str:
    if reason is not None:
        return "ended"
    if not ranks:
        return "not begun"
    return "silent" if all(one.age > OLD for one in ranks) else "running"


def _checkpoint_in(stage: Path, now: float) -> CheckpointStatus | None:
    """The newest checkpoint of a stage whose files have the sizes that its manifest says."""
    folders = [one for one in (stage / "checkpoints").glob("step-*") if NAME.fullmatch(one.name)]
    for folder in sorted(folders, reverse=True):
        try:
            manifest = read_manifest(folder)
        except CheckpointError:
            continue
        if fault_of(folder, manifest) is None:
            return CheckpointStatus(str(folder), manifest.step, max(0.0, now - folder.stat().st_mtime))
    return None


def as_table(status: RunStatus) -> dict[str, Any]:
    """For other programs."""
    return asdict(status)


def print_status(status: RunStatus, console: Console) -> None:
    """For people."""
    console.print(_page(status))


def watch_status(path: Path, console: Console) -> None:
    """Show it again and again until the run has ended."""
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
    kept = status.checkpoint
    facts.append(
        (
            "checkpoint",
            "none yet" if kept is None else f"step {kept.step}, {_span(kept.age)} old: {kept.path}",
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
    for name in ("rank", "host", "pid", "step", "phase", "s/step", "busy", "pulse"):
        table.add_column(name)
    for one in status.ranks:
        seconds = "" if one.step_seconds is None else f"{one.step_seconds:.3g}"
        pulse = Text(
            f"{_span(one.age)} ago", style="red" if one.age > OLD and status.exit_reason is None else ""
        )
        table.add_row(
            str(one.rank),
            one.host,
            str(one.pid),
            str(one.step),
            one.phase,
            seconds,
            f"{one.busy_seconds:.3g}",
            pulse,
        )
    return table


def _span(seconds: Seconds) -> str:
    """A time to read.

    >>> _span(3), _span(200), _span(8000)
    ('3 s', '3 min', '2.2 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
