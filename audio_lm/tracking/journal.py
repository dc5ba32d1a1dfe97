"""The values of one run on disk, ``metrics.jsonl``: written first, sent to MLflow afterwards.

The journal is the truth. A server that was away, a process that was killed and
a store that was lost are all made good by sending it again: MLflow ignores a
point it already has (same name, time, step and value).
"""

import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

MAX_NAME_LENGTH = 250
BYTES_PER_BATCH = 50_000  # a few hundred points


class Point(NamedTuple):
    """One value on a curve."""

    name: str
    value: float
    time_ms: int
    step: int


class Journal:
    """Appends the values of a run and remembers how far they were sent.

    A restart repeats the steps after its checkpoint; what an earlier attempt
    already wrote of them is not written twice, so that curves have no zigzag.
    """

    def __init__(self, path: Path, *, resume: bool) -> None:
        """Open the file.

        Args:
            path: of ``metrics.jsonl``; ``metrics.sent`` is kept beside it.
            resume: go on with what lies there; otherwise begin anew.
        """
        self.path = path
        self._sent_path = path.with_suffix(".sent")
        if not resume:
            path.unlink(missing_ok=True)
            self._sent_path.unlink(missing_ok=True)
        _cut_torn_line(path)
        self._last_step_of_name = _last_steps(path)
        self._file = path.open("a", encoding="ascii")

    def write(self, values: Mapping[str, float], step: int) -> None:
        """Append one line, under safe names and with finite values only."""
        values = finite(values)
        kept = {name: value for name, value in values.items() if not self._is_repeated(name, step)}
        if kept:
            self._file.write(json.dumps({"time": _now_ms(), "step": step, "values": kept}) + "\n")
            self._file.flush()

    def unsent(self, run_id: str) -> Iterator[tuple[list[Point], int]]:
        """Batches of points the run does not have yet, each with the offset where it ends."""
        offset = self._sent_offset(run_id)
        with self.path.open("rb") as file:
            file.seek(offset)
            while lines := _whole_lines(file.readlines(BYTES_PER_BATCH)):
                offset += sum(map(len, lines))
                yield [point for line in lines for point in _points(line)], offset

    def mark_sent(self, run_id: str, offset: int) -> None:
        """Remember that the run has everything before the offset."""
        self._sent_path.write_text(f"{run_id} {offset}\n", encoding="ascii")

    def _is_repeated(self, name: str, step: int) -> bool:
        # Step 0 also holds summaries, such as final scores, and those may be measured again.
        return 0 < step <= self._last_step_of_name.get(name, 0)

    def _sent_offset(self, run_id: str) -> int:
        if not self._sent_path.exists():
            return 0
        sent_run_id, _, offset = self._sent_path.read_text(encoding="ascii").strip().partition(" ")
        return int(offset) if sent_run_id == run_id and offset.isdigit() else 0


def safe_name(name: str) -> str:
    """A metric's or parameter's name as every MLflow store takes it.

    Other characters become ``_`` (the stock Lightning logger drops them, so that
    names collide or vanish); parts of the path that say nothing are left out.

    >>> safe_name("task:asr/loss"), safe_name("/loss//asr/"), safe_name("../x")
    ('task_asr/loss', 'loss/asr', 'x')
    """
    clean = re.sub(r"[^A-Za-z0-9_/. -]", "_", name)
    parts = (part.strip() for part in clean.split("/"))
    joined = "/".join(part for part in parts if part.strip("."))
    return re.sub(r"^\.+", "_", joined)[:MAX_NAME_LENGTH].rstrip("/ ") or "unnamed"


def finite(values: Mapping[str, float]) -> dict[str, float]:
    """The values under safe names; one that is no number is told as ``nonfinite/<name>`` = 1.

    MLflow stores infinity as 1.8e308, which ruins every axis.

    >>> finite({"loss": 2, "norm": float("inf")})
    {'loss': 2.0, 'nonfinite/norm': 1.0}
    """
    told = {}
    for name, value in values.items():
        number = float(value)
        if math.isfinite(number):
            told[safe_name(name)] = number
        else:
            told[safe_name(f"nonfinite/{name}")] = 1.0
    return told


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _cut_torn_line(path: Path) -> None:
    """Remove the end of a file that a kill left without its newline."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)


def _last_steps(path: Path) -> dict[str, int]:
    steps: dict[str, int] = {}
    if path.exists():
        with path.open("rb") as file:
            for line in file:
                for point in _points(line):
                    steps[point.name] = max(point.step, steps.get(point.name, 0))
    return steps


def _whole_lines(lines: list[bytes]) -> list[bytes]:
    """All but a last line that is being written at this moment."""
    return lines if not lines or lines[-1].endswith(b"\n") else lines[:-1]


def _points(line: bytes) -> list[Point]:
    record = json.loads(line)
    return [Point(name, value, record["time"], record["step"]) for name, value in record["values"].items()]
