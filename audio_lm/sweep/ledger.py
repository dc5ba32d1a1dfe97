"""Ledger of a sweep: the only record of its trials, in ``ledger.jsonl``, one line per event.

    sweep    facts of the sweep; the first line, and later ones if the file watches other metrics
    trial    a trial that is to be run
    claim    a worker takes a trial: a free one, or that of a dead worker, whose claim it names
    release  a worker gives a trial back, because it was stopped itself
    fault    the run of a trial ended with an error; the trial is free again
    end      a trial is finished, failed or pruned; with the values of the watched metrics
    retry    a failed trial is to be run again

The state of all trials is a pure function of the lines. A claim counts only if it replaces the claim that holds at its
place in the file, and other events of a trial only under the claim that holds; so two workers can never both have a trial,
and a worker that was replaced changes nothing. Lines are appended under a lock and synced, each with its checksum. A worker
that is killed while it writes leaves an incomplete line, which the next one separates from its own and readers skip.
"""

import errno
import fcntl
import json
import os
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from audio_lm.common.audio_units import Seconds
from audio_lm.common.errors import DataError, UserError
from audio_lm.common.files import read_lines, seal
from audio_lm.sweep.facts import SweepFacts
from audio_lm.sweep.trial import Trial

FILE, LOCK = "ledger.jsonl", "ledger.lock"
TRIALS = "trials"
LOCK_PATIENCE: Seconds = 120.0
PAUSE: Seconds = 0.02
MAX_FAULTS = 3
"""Faults of a trial's run, after which the trial counts as failed."""

Status = Literal["waiting", "running", "finished", "failed", "pruned"]
End = Literal["finished", "failed", "pruned"]


class Liveness(Protocol):
    """Judgement whether workers are alive."""

    def is_dead(self, worker: str, /) -> bool:
        """True if a worker has ended, was killed or is silent."""


@dataclass(frozen=True)
class Claim:
    """Right of a worker to run a trial, until another claim replaces it."""

    id: str
    trial: Trial
    worker: str
    number: int
    """1 for the first claim of the trial."""


@dataclass
class TrialState:
    """State of a trial after the last line of the ledger."""

    trial: Trial
    status: Status = "waiting"
    claim: str = ""
    """Id of the last claim; empty before the first."""

    worker: str = ""
    """Worker of the last claim."""

    num_claims: int = 0
    num_faults: int = 0
    began: float = 0.0
    """Time of the last claim, in seconds since the epoch."""

    ended: float = 0.0
    """Time of the last end, fault or release."""

    reason: str = ""
    """Reason of the last end, fault or release."""

    values: Mapping[str, float] = field(default_factory=dict)
    """Watched metric -> final value."""

    @property
    def is_over(self) -> bool:
        """True if the trial is not to be run again."""
        return self.status in ("finished", "failed", "pruned")


@dataclass
class LedgerState:
    """State of a sweep after the last line of its ledger."""

    facts: SweepFacts | None = None
    trials: dict[str, TrialState] = field(default_factory=dict)
    """Name of a trial -> its state, in the order of their lines."""

    num_damaged: int = 0
    """Lines that could not be read."""

    @property
    def is_over(self) -> bool:
        """True if no trial is left to run."""
        return all(state.is_over for state in self.trials.values())

    def of(self, *statuses: Status) -> list[TrialState]:
        """Trials with one of some statuses."""
        return [state for state in self.trials.values() if state.status in statuses]

    def next_name(self, after: int = 0) -> str:
        """Name for one more trial, after a number of others that are not in the ledger yet."""
        return f"{max((int(name) for name in self.trials if name.isdecimal()), default=-1) + 1 + after:03d}"

    def apply(self, record: Mapping[str, Any]) -> None:
        """Apply one line."""
        kind = record.get("kind")
        if kind == "sweep":
            self.facts = SweepFacts.from_json(record["facts"])
        elif kind == "trial":
            trial = Trial.from_json(record["trial"])
            self.trials.setdefault(trial.name, TrialState(trial))
        elif (state := self.trials.get(str(record.get("trial")))) is not None:
            _apply_to(state, record)


def _apply_to(state: TrialState, record: Mapping[str, Any]) -> None:
    """Apply a line about a trial; one of a worker that does not have the trial changes nothing."""
    kind, moment = record["kind"], float(record["time"])
    if kind == "claim":
        if record["replaces"] == state.claim and not state.is_over:
            state.status, state.claim, state.worker = "running", record["claim"], record["worker"]
            state.num_claims, state.began = state.num_claims + 1, moment
        return
    if kind == "retry":
        if state.status == "failed":
            state.status, state.num_faults = "waiting", 0
        return
    if record["claim"] != state.claim or state.status != "running":
        return
    state.ended, state.reason = moment, record["reason"]
    if kind == "end":
        state.status, state.values = record["status"], record["values"]
    else:
        state.num_faults += kind == "fault"
        state.status = "failed" if state.num_faults >= MAX_FAULTS else "waiting"


class Ledger:
    """Ledger of one sweep.

    Args:
        folder: of the sweep.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / FILE

    def run_folder(self, trial: Trial) -> Path:
        """Folder of a trial's run."""
        return self.folder / TRIALS / trial.name

    def open(self, facts: SweepFacts, trials: Iterable[Trial]) -> LedgerState:
        """Create the ledger, or open the one that is there; adds trials that are not in it.

        Raises:
            UserError: the folder cannot be written, or has another sweep.
        """
        try:
            (self.folder / TRIALS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"folder of the sweep {self.folder}: {error.strerror} -- expected a folder that can be written -- choose "
                f"another with --out"
            ) from error
        with self._locked() as state:
            if state.facts is not None and _identity(state.facts) != _identity(facts):
                raise UserError(
                    f"{self.path} is the ledger of {state.facts.name!r}, recipe signature {state.facts.signature!r} -- "
                    f"expected {facts.name!r}, {facts.signature!r} -- choose another folder with --out"
                )
            # Relative paths stay those of the folder in which the sweep was started.
            known = state.facts and replace(
                facts, folder=state.facts.folder, file=state.facts.file, recipe=state.facts.recipe
            )
            first = (
                []
                if known and known == state.facts
                else [{"kind": "sweep", "facts": (known or facts).as_json()}]
            )
            self._append([*first, *_new_trials(state, trials)])
        return self.state()

    def state(self) -> LedgerState:
        """Read the ledger.

        Raises:
            UserError: there is none, or its first line is damaged.
        """
        state = self._read()
        if state.facts is None:
            raise UserError(
                f"{self.folder} holds no sweep ({FILE} is missing, or its first line is damaged); name a folder such as "
                f"sweeps/demo_mixture-1a2b3c4d"
            )
        return state

    @property
    def facts(self) -> SweepFacts:
        """Facts of the sweep."""
        facts = self.state().facts
        assert facts is not None, "state() raises without facts"
        return facts

    def add(self, trials: Iterable[Trial]) -> None:
        """Add trials that are not in the ledger."""
        with self._locked() as state:
            self._append(_new_trials(state, trials))

    @contextmanager
    def adding(self) -> Iterator[tuple[LedgerState, list[Trial]]]:
        """Read the ledger, choose trials from it and add them, while no other worker can."""
        with self._locked() as state:
            chosen: list[Trial] = []
            yield state, chosen
            self._append(_new_trials(state, chosen))

    def retry_failed(self) -> list[str]:
        """Let failed trials run again; returns their names."""
        with self._locked() as state:
            names = [one.trial.name for one in state.of("failed")]
            self._append({"kind": "retry", "trial": name} for name in names)
        return names

    def claim(self, worker: str, liveness: Liveness) -> Claim | None:
        """Take a trial: first one that was started, then the first in order; None if there is none.

        Args:
            worker: name of the worker.
            liveness: says which workers are alive; the trial of a dead one is taken over.
        """
        with self._locked() as state:
            free = state.of("waiting") + [one for one in state.of("running") if liveness.is_dead(one.worker)]
            if not free:
                return None
            chosen = min(free, key=lambda one: (one.num_claims == 0, one.trial.name))
            claim = Claim(uuid.uuid4().hex, chosen.trial, worker, chosen.num_claims + 1)
            self._append(
                [
                    {
                        "kind": "claim",
                        "trial": chosen.trial.name,
                        "claim": claim.id,
                        "replaces": chosen.claim,
                        "worker": worker,
                    }
                ]
            )
        return claim if self.holds(claim) else None

    def holds(self, claim: Claim) -> bool:
        """True if no other claim has replaced this one, and the trial is not over."""
        state = self._read().trials.get(claim.trial.name)
        return state is not None and state.claim == claim.id and state.status == "running"

    def release(self, claim: Claim, reason: str) -> None:
        """Give a trial back; it continues from its checkpoint."""
        self._tell(claim, "release", reason)

    def fault(self, claim: Claim, reason: str) -> None:
        """Record that the run of a trial ended with an error; after several the trial counts as failed."""
        self._tell(claim, "fault", reason)

    def end(self, claim: Claim, status: End, reason: str, values: Mapping[str, float]) -> None:
        """Record that a trial is over.

        Args:
            values: watched metric -> final value.
        """
        self._tell(claim, "end", reason, status=status, values=dict(values))

    def _tell(self, claim: Claim, kind: str, reason: str, **content: object) -> None:
        about = {"kind": kind, "trial": claim.trial.name, "claim": claim.id, "reason": reason}
        with self._locked():
            self._append([{**about, **content}])

    def _read(self) -> LedgerState:
        state = LedgerState()
        for line in read_lines(self.path):
            if line.record is None:
                state.num_damaged += 1
                continue
            try:
                state.apply(line.record)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise DataError(
                    f"{self.path}, byte {line.end}: not a line of a ledger of this release ({type(error).__name__}: {error}) "
                    f"-- expected one that `audio-lm sweep` has written -- choose another folder with --out"
                ) from error
        return state

    def _append(self, records: Iterable[Mapping[str, object]]) -> None:
        """Append lines in one write; an incomplete line before them is ended first."""
        now = time.time()
        text = b"".join(json.dumps(seal({**one, "time": now})).encode() + b"\n" for one in records)
        if not text:
            return
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                text = b"\n" + text
            if os.write(descriptor, text) < len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def _locked(self) -> Iterator[LedgerState]:
        """Hold the lock of the ledger; yields its state.

        Raises:
            UserError: the folder cannot be written, its file system has no locks, or another process keeps the lock.
        """
        path = self.folder / LOCK
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise UserError(
                f"{path}: {error.strerror} -- expected the folder of a sweep that can be written -- check its name and rights"
            ) from error
        try:
            _lock(descriptor, path)
            yield self._read()
        finally:
            os.close(descriptor)


def _identity(facts: SweepFacts) -> tuple[object, ...]:
    """Facts that must agree for trials to be of one sweep."""
    return facts.name, facts.signature, facts.stage, facts.tasks, facts.overrides


def _new_trials(state: LedgerState, trials: Iterable[Trial]) -> list[dict[str, object]]:
    return [{"kind": "trial", "trial": trial.as_json()} for trial in trials if trial.name not in state.trials]


def _lock(descriptor: int, path: Path) -> None:
    until = time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            pass
        except OSError as error:
            raise UserError(
                f"{path}: its file system has no file locks ({error.strerror}), so two workers could take one trial -- "
                f"expected one with locks, such as a local disk or NFS 4 -- choose another folder with --out"
            ) from error
        if time.monotonic() > until:
            raise UserError(
                f"{path}: another process holds the lock for {LOCK_PATIENCE:.0f} s -- expected milliseconds -- end the process "
                f"that is stopped or hangs"
            )
        time.sleep(PAUSE)
