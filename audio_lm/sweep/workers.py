"""Life signs of workers: a file per worker, and the judgement of other workers about it.

On the same machine a worker is dead as soon as its process is gone. Elsewhere, and if it is frozen, its file must change:
the observer measures on its own clock for how long it did not, so clocks of machines need not agree. A worker that is
wrongly believed dead changes nothing: its claim is replaced, and the lease of the run folder belongs to a newer start.
"""

import os
import platform
import threading
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

from audio_lm.common.audio_units import Seconds
from audio_lm.common.files import read_table, write_json
from audio_lm.fault_tolerance.processes import boot_id, is_alive, start_time_of

FOLDER = "workers"
BEAT: Seconds = 2.0
SILENCE: Seconds = 60.0
"""Time without a change of its file after which a worker counts as dead."""


def machine() -> str:
    """Name of this machine since its last boot, and of the set of process ids that this process sees."""
    try:
        processes = os.readlink("/proc/self/ns/pid")
    except OSError:
        processes = ""
    return f"{platform.node()}/{boot_id()}/{processes}"


class LifeSign:
    """Life sign of this worker: a thread writes its file while the context is open.

    Args:
        sweep: folder of the sweep.
    """

    def __init__(self, sweep: Path, *, beat: Seconds = BEAT) -> None:
        self.worker = f"{platform.node()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self.path = sweep / FOLDER / f"{self.worker}.json"
        self.beat = beat
        self._count = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="audio_lm-worker", daemon=True)

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._write()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()
        self.path.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._is_over.wait(self.beat):
            self._write()

    def _write(self) -> None:
        self._count += 1
        table = {
            "host": platform.node(),
            "machine": machine(),
            "pid": os.getpid(),
            "start": start_time_of(os.getpid()),
            "count": self._count,
        }
        try:
            write_json(self.path, table, is_synced=False)
        except OSError:
            return  # a full disk; the next one may fit, and the lease guards the run in any case


class Observer:
    """Judgement of one process about the workers of a sweep.

    Args:
        sweep: folder of the sweep.
        silence: time without a change after which a worker counts as dead.
    """

    def __init__(self, sweep: Path, *, silence: Seconds = SILENCE) -> None:
        self.folder = sweep / FOLDER
        self.silence = silence
        self._seen: dict[str, tuple[int, float]] = {}

    def is_dead(self, worker: str) -> bool:
        """True if a worker was killed on this machine, or was silent for too long.

        One that ends gives its trial back first, and then removes its file.
        """
        table = read_table(self.folder / f"{worker}.json")
        if table.get("machine") == machine() and not _is_same_process(table):
            return True
        count, now = int(table.get("count", 0)), time.monotonic()
        before = self._seen.setdefault(worker, (count, now))
        if before[0] != count:
            self._seen[worker] = (count, now)
            return False
        return now - before[1] > self.silence


def num_alive(sweep: Path) -> int:
    """Number of workers whose life sign changed within the last minutes, by the clock of the file system."""
    paths = list((sweep / FOLDER).glob("*.json"))
    ages = [time.time() - path.stat().st_mtime for path in paths if path.exists()]
    return sum(age < SILENCE for age in ages)


def _is_same_process(table: dict[str, object]) -> bool:
    pid = int(str(table.get("pid", 0)))
    return is_alive(pid) and start_time_of(pid) == table.get("start")
