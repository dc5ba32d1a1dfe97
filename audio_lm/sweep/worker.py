"""Worker of a sweep: takes trials from the ledger and runs them, one after another, until none is left.

Any number of workers on any number of machines may share a ledger; each is a process of its own. A worker that is stopped
lets its run save a checkpoint and gives the trial back; one that is killed takes its run down with it, and others take the
trial over.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Protocol

from audio_lm.common.audio_units import Seconds
from audio_lm.common.errors import DataError, UserError
from audio_lm.common.protocols import Report
from audio_lm.fault_tolerance.exit_status import read_exit_reason
from audio_lm.sweep.facts import SweepFacts
from audio_lm.sweep.ledger import Claim, Ledger, LedgerState
from audio_lm.sweep.pruning import PRUNED_PURPOSES, Pruner
from audio_lm.sweep.results import curves_of, values_of
from audio_lm.sweep.trial import Trial
from audio_lm.sweep.trial_run import TrialEnd, TrialRun, TrialStarter
from audio_lm.sweep.workers import LifeSign, Observer

POLL: Seconds = 0.5
LEDGER_POLL: Seconds = 5.0
"""Interval in which a worker checks that it still has its trial."""

MAX_FAILED_IN_A_ROW = 3
"""Failed trials of one worker with no other in between, after which it ends: the cause is not their mixture."""

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class Sampler(Protocol):
    """Choice of one more trial from the results so far."""

    def next_trial(self, state: LedgerState) -> Trial | None:
        """Trial to add; None if there are enough."""


@dataclass(frozen=True)
class WorkerSettings:
    """Behaviour of a worker."""

    waits: bool = True
    """Wait while other workers run the last trials, whose trials it takes over should they die."""

    poll: Seconds = POLL
    silence: Seconds | None = None
    """Time without a life sign after which another worker counts as dead; null for the default."""


class Worker:
    """One worker.

    Args:
        ledger: of the sweep.
        starter: makes the runs of trials.
        report: called with a line for every start and end of a trial.
        sampler: chooses further trials when none is left; None if all are planned.
    """

    def __init__(
        self,
        ledger: Ledger,
        starter: TrialStarter,
        report: Report,
        *,
        sampler: Sampler | None = None,
        settings: WorkerSettings = WorkerSettings(),
    ) -> None:
        self.ledger = ledger
        self.starter = starter
        self.report = report
        self.sampler = sampler
        self.settings = settings
        self.facts: SweepFacts = ledger.facts
        silence = {} if settings.silence is None else {"silence": settings.silence}
        self.observer = Observer(ledger.folder, **silence)
        self._failed_in_a_row = 0
        self.received = 0
        """Stop signal that this worker received; 0 for none."""

    def work(self) -> int:
        """Run trials until none is left; returns the stop signal that ended the work, 0 for none.

        Raises:
            UserError: several trials in a row have failed.
        """
        with LifeSign(self.ledger.folder) as sign, self._listening():
            while not self.received:
                claim = self.ledger.claim(sign.worker, self.observer)
                if claim is not None:
                    self._run(claim)
                    self._check_failures(claim)
                elif not self._add_sampled() and not self._is_worth_waiting():
                    break
        return self.received

    def _add_sampled(self) -> bool:
        """Add one more trial chosen from the results so far; True if there was one to add."""
        if self.sampler is None:
            return False
        with self.ledger.adding() as (state, chosen):
            trial = self.sampler.next_trial(state)
            if trial is not None:
                chosen.append(trial)
        return bool(chosen)

    def _is_worth_waiting(self) -> bool:
        """Wait a moment for trials of other workers; False if there are none or this worker does not wait."""
        if not self.settings.waits or self.ledger.state().is_over:
            return False
        time.sleep(self.settings.poll)
        return True

    def _run(self, claim: Claim) -> None:
        """Run a trial and record its end."""
        folder, trial = self.ledger.run_folder(claim.trial), claim.trial
        if _is_finished(folder):
            self._finish(claim, folder)
            return
        shares = " ".join(f"{task}={share:.3g}" for task, share in trial.shares.items())
        again = f", start {claim.number}: continues from its checkpoint" if claim.number > 1 else ""
        self.report(f"trial {trial.name} ({trial.purpose}) {shares}: started{again}")
        run = self.starter(trial, folder)
        run.start()
        try:
            end, pruned = self._watch(claim, run, folder)
        except BaseException:
            run.kill()
            raise
        if end is None:
            self.report(f"trial {trial.name}: another worker has taken it over; this one leaves it")
        elif pruned:
            self.ledger.end(claim, "pruned", pruned, values_of(folder, self.facts))
            self.report(f"trial {trial.name}: pruned {pruned}")
        else:
            self._record(claim, folder, end)

    def _check_failures(self, claim: Claim) -> None:
        """Count failed trials in a row, and end before a full disk or a broken driver fails all of them.

        Raises:
            UserError: there are too many.
        """
        state = self.ledger.state().trials[claim.trial.name]
        if state.status in ("finished", "pruned"):
            self._failed_in_a_row = 0
        self._failed_in_a_row += state.status == "failed"
        if self._failed_in_a_row >= MAX_FAILED_IN_A_ROW:
            raise UserError(
                f"{self._failed_in_a_row} trials in a row have failed, the last one, {claim.trial.name}, because: "
                f"{state.reason} -- expected trials that run -- remove the cause, then go on with `audio-lm sweep work "
                f"{self.ledger.folder} --retry-failed`"
            )

    def _watch(self, claim: Claim, run: TrialRun, folder: Path) -> tuple[TrialEnd | None, str]:
        """Wait for the end of a run; returns it, None if another worker has taken the trial, and the reason to prune."""
        pruner, checked, pruned = self._pruner(claim), time.monotonic(), ""
        while (end := run.poll()) is None:
            if self.received:
                run.stop()
            if time.monotonic() - checked > LEDGER_POLL:
                checked = time.monotonic()
                if not self.ledger.holds(claim):
                    run.kill()
                    return None, ""
                if pruner is not None and not pruned and (pruned := self._why_pruned(pruner, folder)):
                    run.stop()
            time.sleep(self.settings.poll)
        # A run that reached its end before the stop signal is finished.
        return end, "" if end.outcome == "finished" or self.received else pruned

    def _record(self, claim: Claim, folder: Path, end: TrialEnd) -> None:
        name = claim.trial.name
        if end.outcome == "finished":
            self._finish(claim, folder)
        elif end.outcome == "stopped":
            self.ledger.release(claim, end.reason)
            self.report(f"trial {name}: stopped, {end.reason}")
        elif end.outcome == "refused":
            self.ledger.end(claim, "failed", end.reason, {})
            self.report(f"trial {name}: failed, {end.reason}")
        else:
            self.ledger.fault(claim, end.reason)
            self.report(f"trial {name}: ended with an error, {end.reason}")

    def _finish(self, claim: Claim, folder: Path) -> None:
        """Record a finished trial with its values; without any it has failed."""
        try:
            values = values_of(folder, self.facts)
        except DataError as error:
            self.ledger.fault(claim, str(error))
            return
        missing = sorted(self.facts.metrics.keys() - values.keys())
        reason = f"{', '.join(missing)} not measured, or not finite" if missing else ""
        self.ledger.end(claim, "finished" if values else "failed", reason, values)
        texts = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        self.report(f"trial {claim.trial.name}: finished, {texts}{'; ' if texts and reason else ''}{reason}")

    def _pruner(self, claim: Claim) -> Pruner | None:
        config = self.facts.pruning
        if config is None or claim.trial.purpose not in PRUNED_PURPOSES:
            return None
        return Pruner(config, self.facts.metrics, self.facts.steps)

    def _why_pruned(self, pruner: Pruner, folder: Path) -> str:
        finished = self.ledger.state().of("finished")
        others = [curves_of(self.ledger.run_folder(one.trial), self.facts) for one in finished]
        return pruner.reason(curves_of(folder, self.facts), others)

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Note stop signals while the context is open; a second Ctrl-C interrupts."""
        before = {number: signal.getsignal(number) for number in STOP_SIGNALS}

        def note(number: int, frame: FrameType | None) -> None:
            if self.received and number == signal.SIGINT:
                raise KeyboardInterrupt
            self.received = self.received or number

        for number in STOP_SIGNALS:
            signal.signal(number, note)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _is_finished(folder: Path) -> bool:
    """True if a run has ended well, and the worker was killed before it recorded that."""
    reason = read_exit_reason(folder)
    return reason is not None and reason.reason == "finished"
