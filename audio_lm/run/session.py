"""One start of a run, from its first process to its end.

``RunSession`` owns what every stage of a start shares: the run folder and its lease, the heartbeat, the process
groups, the tracking run, the console and the record of the exit. Nothing here trains.
"""

import logging
import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import asdict
from types import TracebackType
from typing import NoReturn, Self, TypeVar

import torch
from rich.console import Console

from audio_lm.common.audio_units import Seconds
from audio_lm.common.cpu import num_cores
from audio_lm.common.env import is_main, rank, world_size
from audio_lm.common.errors import UserError
from audio_lm.common.files import seal_text
from audio_lm.config.load import ComposedRecipe
from audio_lm.config.schema import Recipe
from audio_lm.fault_tolerance.exit_status import RunEndedError, write_exit_reason
from audio_lm.fault_tolerance.heartbeat import FOLDER, Heartbeat
from audio_lm.fault_tolerance.launcher_env import check_launch, current_launch
from audio_lm.fault_tolerance.processes import end_data_workers
from audio_lm.fault_tolerance.restarts import begin_attempt, check_not_ended
from audio_lm.fault_tolerance.signals import LOST, SIGNALS, STOP_SIGNALS, decode_signal, encode_signal
from audio_lm.fault_tolerance.torchrun import is_one_machine, listens_everywhere
from audio_lm.run.exit_recorder import ExitRecorder
from audio_lm.run.folder import RunFolder
from audio_lm.run.lease_watch import LeaseWatch
from audio_lm.run.process_groups import ProcessGroups
from audio_lm.run.run_log import RunLog, settings_given
from audio_lm.run.time_ledger import TimeLedger
from audio_lm.tracking.facts import RunFacts
from audio_lm.tracking.run import RecipeRun, open_recipe_run

STOP_REQUEST = "stop"  # file beside the heartbeats: a rank that only waits has received a signal
log = logging.getLogger(__name__)
Item = TypeVar("Item")


class RunSession:
    """Everything that the stages of one start share; see ``training.callbacks.run_guard.RunGuard``.

    Args:
        folder: of the run; ``claim`` expects it to exist.
        log_level: of ``run.log``.
    """

    def __init__(
        self, composed: ComposedRecipe, folder: RunFolder, console: Console, *, log_level: int = logging.INFO
    ) -> None:
        self.composed = composed
        self.folder = folder
        self.console = console
        self.config = composed.recipe.fault_tolerance
        self.launch = current_launch()
        self.heartbeat = Heartbeat(folder.path, self.config, rank=rank(), launch=self.launch)
        self.lease = LeaseWatch(folder.path, self.launch)
        self.log = RunLog(folder.path, log_level, may_write=lambda: self.lease.is_newest)
        self.exit = ExitRecorder(folder.path, self.config, self.launch, self.heartbeat, self.lease)
        self.groups = ProcessGroups(composed.recipe.hardware.accelerator, self.config.first_step_seconds)
        self.ledger = TimeLedger(folder.path, self.heartbeat)
        self.tracking: RecipeRun | None = None
        self._stack = ExitStack()
        self._before_open: list[str] = []
        self._handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}

    @property
    def recipe(self) -> Recipe:
        """The recipe of the run."""
        return self.composed.recipe

    def __enter__(self) -> Self:
        check_launch(self.launch)
        check_not_ended(self.folder.path, self.launch)
        SIGNALS.received = 0
        SIGNALS.listen()
        self.heartbeat.start()
        with ExitStack() as stack:
            stack.push(self._release)
            stack.enter_context(self.exit)
            stack.enter_context(self.groups)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _release(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ledger.write()
        self.lease.stop()
        end_data_workers()
        if not self.launch.is_elastic:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
        if self.launch.is_elastic and error is not None:  # the watchdog still guards the end of the process
            self.heartbeat.phase("exit", self.config.frozen_seconds)
        else:
            self.heartbeat.stop()

    def notes(self) -> Sequence[str]:
        """Advice for the person who started torchrun."""
        if is_main() and self.launch.is_elastic and is_one_machine() and listens_everywhere(os.getppid()):
            return [
                "torchrun itself listens on all addresses of this machine; with all ranks on it, start without torchrun "
                "(hardware.devices=N), or give torchrun --rdzv-backend c10d --rdzv-conf store_type=file "
                "--rdzv-endpoint=NEW_FILE --local-addr=127.0.0.1"
            ]
        return []

    def claim(self, progress: Iterable[int]) -> None:
        """Take the lease of the run folder on the first rank, before anything is written there.

        Args:
            progress: amount of finished work, see ``RunFolder.progress``.

        Raises:
            RunEndedError: too many starts made no progress.
        """
        if is_main():
            attempt = self.lease.take()
            (self.folder.path / FOLDER / STOP_REQUEST).unlink(missing_ok=True)
            most = self.config.max_restarts
            try:
                begin_attempt(self.folder.path, self.launch, [*progress], attempt=attempt, max_restarts=most)
            except RunEndedError as ended:
                write_exit_reason(self.folder.path, ended.reason)
                raise

    def open(self) -> None:
        """Open the run folder for the lease, the heartbeat and ``run.log``, on every rank."""
        self.lease.open()
        self.heartbeat.open(self.lease.attempt)
        self._stack.enter_context(self.log)
        self.ledger.open(self.lease.attempt, self.writing)
        log.info("start %d of %s", self.lease.attempt, self.folder.path)
        for setting in settings_given(self.composed):
            log.info("command line: %s", setting)
        for message in self._before_open:
            log.info(message)

    def track(self, facts: RunFacts) -> RecipeRun:
        """Open the tracking run of the recipe; it is closed with the session."""
        recipe = self.recipe
        run = open_recipe_run(
            recipe.tracking,
            facts=facts,
            folder=self.folder.path.absolute(),
            recipe_yaml=seal_text(self.composed.text),
            settings=asdict(recipe),
            resume=recipe.is_resumed,
            write_guard=self.writing,
        )
        self.tracking = self._stack.enter_context(run)
        return run

    def print(self, message: str) -> None:
        """Show a message on the first rank's console, and keep it in ``run.log``."""
        self.console.print(message, soft_wrap=True, markup=False)  # a message may have brackets
        if self.lease.is_taken:
            log.info(message)
        else:
            self._before_open.append(message)

    # Ranks

    def agree(self, number: int) -> int:
        """Largest number over all ranks; a collective."""
        return self.groups.agree_on_max(number)

    def limit_collectives(self, seconds: Seconds) -> None:
        """Set the timeout of all collectives."""
        self.groups.set_timeout(seconds)

    def main_first(self) -> AbstractContextManager[None]:
        """Context that the first rank runs before the others."""
        return self.groups.main_first()

    def wait(self) -> None:
        """Wait for all ranks, for hours if need be."""
        self.groups.wait()

    def barrier(self) -> None:
        """Wait for all ranks; all leave when any of them received a stop signal or lost the lease.

        Raises:
            RunEndedError: a rank received a signal.
            UserError: a later start has the run folder.
        """
        own = LOST if self.lease.look() else encode_signal(SIGNALS.received, rank())
        code = self.groups.wait(own, self.forward_signal)
        if code >= LOST:
            raise self.lost_error()
        if code:
            raise RunEndedError(self.exit.preempted(*decode_signal(code)))

    def forward_signal(self) -> None:
        """Forward a stop signal from this rank, which only waits, to the ranks that work."""
        if SIGNALS.received and self.lease.is_taken:
            (self.folder.path / FOLDER / STOP_REQUEST).touch()

    def is_stopping(self) -> bool:
        """Check whether this rank, or one that waits for it, received a stop signal."""
        return bool(SIGNALS.received) or (self.folder.path / FOLDER / STOP_REQUEST).exists()

    def until_stopped(self, items: Iterable[Item], *, is_collective: bool = False) -> Iterator[Item]:
        """Yield the items of long work, each with a heartbeat, until a stop signal arrives.

        Args:
            is_collective: all ranks work through the same items together, and stop together.

        Raises:
            PreemptedError: a rank received a signal, or lost the lease.
        """
        for item in items:
            self.heartbeat.tick()
            is_ending = self.is_stopping() or self.is_lost
            if self.agree(int(is_ending)) if is_collective else is_ending:
                raise PreemptedError
            yield item

    def leave(self, number: int, of_rank: int) -> NoReturn:
        """End a stage before its last step; its checkpoint is written.

        Raises:
            KeyboardInterrupt: the signal was Ctrl-C.
            RunEndedError: another signal.
        """
        heartbeat = self.heartbeat
        if number == signal.SIGINT:
            raise KeyboardInterrupt(
                f"stopped at step {heartbeat.step} of stage {heartbeat.stage!r}; resume=auto continues from there"
            )
        raise RunEndedError(self.exit.preempted(number, of_rank))

    # Lease and errors

    @property
    def is_lost(self) -> bool:
        """True once a newer start has taken the run folder."""
        return self.lease.is_lost

    def lost_error(self) -> UserError:
        """Error to raise when a newer start has the run folder."""
        return self.lease.lost_error()

    def writing(self) -> AbstractContextManager[bool]:
        """Lock the run folder for one write; False where it belongs to a newer start."""
        return self.lease.writing()

    def check_lease(self, *, is_collective: bool = False) -> None:
        """Check that no newer start has the run folder.

        Args:
            is_collective: all ranks check together, and leave together.

        Raises:
            UserError: a newer start has it.
        """
        is_lost = self.lease.look()
        if self.agree(int(is_lost)) if is_collective else is_lost:
            raise self.lost_error()

    def note_error(self, error: BaseException) -> None:
        """Record the error that ends this rank, before anything is torn down."""
        self.exit.note_error(error)

    # Phases of the heartbeat

    def saving(self) -> AbstractContextManager[None]:
        """Context of every save of a checkpoint."""
        return self.heartbeat.within("save", self.config.first_step_seconds)

    def building(self) -> AbstractContextManager[None]:
        """Context of building or loading a model."""
        return self.heartbeat.within("building", self.config.building_seconds, in_step=False)

    def measuring(self) -> AbstractContextManager[None]:
        """Context of the measurement of speeds, before the first step."""
        return self.heartbeat.within("measuring", self.config.first_step_seconds, in_step=False)

    @contextmanager
    def evaluating(self, *, is_collective: bool) -> Iterator[None]:
        """Context of an evaluation; it ends early, and the session with it, when a rank receives a stop signal.

        Args:
            is_collective: all ranks share the model; otherwise the first rank evaluates with all cores while the
                others wait.
        """
        before = torch.get_num_threads()
        is_alone = world_size() > 1 and is_main() and not is_collective
        torch.set_num_threads(max(before, num_cores()) if is_alone else before)
        with suppress(PreemptedError), self.heartbeat.within("evaluation"):
            yield
        torch.set_num_threads(before)
        self.barrier()

    def commit(self) -> None:
        """Sync the curves to disk before a checkpoint is published.

        Raises:
            UserError: a newer start has the run folder.
        """
        self.lease.check()
        if self.tracking is not None:
            self.tracking.sync()


class PreemptedError(Exception):
    """A rank received a stop signal in the middle of long work."""
