"""What a run does around its stages so that it can be killed, frozen, told to stop and begun again.

Ties together what ``survival`` has: who may write, how far earlier starts came, the
pulse, what is said at the end. Nothing here trains.
"""

import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self, TypeVar

from audio_lm.common.audio_units import Seconds
from audio_lm.common.env import is_main, rank, world_size
from audio_lm.config.load import ComposedRecipe
from audio_lm.config.schema import AUTO
from audio_lm.fault_tolerance.config import FaultToleranceConfig
from audio_lm.fault_tolerance.exit_status import (
    ExitReason,
    Reason,
    RunEndedError,
    read_exit_reason,
    write_exit_reason,
)
from audio_lm.fault_tolerance.heartbeat import BEAT, FOLDER, Heartbeat
from audio_lm.fault_tolerance.launcher_env import check_launch, current_launch
from audio_lm.fault_tolerance.lease import Lease, generation_in, launch_before, token_in
from audio_lm.fault_tolerance.processes import end_data_workers
from audio_lm.fault_tolerance.restarts import (
    begin_attempt,
    check_not_ended,
    error_of,
    first_error,
    is_lost_peer,
    put_error,
)
from audio_lm.fault_tolerance.signals import LOST, SIGNALS, STOP_SIGNALS, decode_signal, encode_signal
from audio_lm.fault_tolerance.torchrun import is_one_machine, listens_everywhere
from audio_lm.run.process_groups import ProcessGroups

REQUEST = "stop"  # beside the pulses: a rank that only waits was told
FOR_A_CAUSE: Seconds = 2.0
log = logging.getLogger(__name__)
Item = TypeVar("Item")


def force_resume_on_restart(composed: ComposedRecipe, folder: Path) -> ComposedRecipe:
    """The recipe to go on with when a launcher begins its processes again, whatever it was at first."""
    launch = current_launch()
    reason = read_exit_reason(folder)
    is_over = reason is not None and bool(reason.launch)
    is_first = not launch.id or launch_before(folder) != launch.id or is_over
    if composed.recipe.is_resumed or is_first:
        return composed
    return replace(composed, recipe=replace(composed.recipe, resume=AUTO))


def adopt_world_size(composed: ComposedRecipe) -> ComposedRecipe:
    """The recipe for the nodes that torchrun has found, where any number will do."""
    recipe, launch = composed.recipe, current_launch()
    nodes, rest = divmod(world_size(), recipe.hardware.devices)
    if not (recipe.fault_tolerance.any_num_nodes and launch.is_elastic) or rest:
        return composed
    return replace(composed, recipe=replace(recipe, hardware=replace(recipe.hardware, nodes=nodes)))


class Survival:
    """One start of a run, from its first process to its end.

    Args:
        folder: of the run, which ``begin`` finds there.
    """

    def __init__(self, folder: Path, config: FaultToleranceConfig) -> None:
        self.folder = folder
        self.config = config
        self.launch = current_launch()
        self.heartbeat = Heartbeat(folder, config, rank=rank(), launch=self.launch)
        self.lease = Lease(folder, self.launch)
        self.attempt = 0
        self.is_lost = False
        self._is_over = threading.Event()
        self._token = ""
        self._has_begun = False
        self._noted: BaseException | None = None
        self._before = {number: signal.getsignal(number) for number in STOP_SIGNALS}

    def __enter__(self) -> Self:
        check_launch(self.launch)
        check_not_ended(self.folder, self.launch)
        SIGNALS.received = 0
        SIGNALS.listen()
        self.heartbeat.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                self.note_error(error)
            self._say_goodbye(error)
        finally:
            self._let_go(is_well=error is None)

    def notes(self) -> list[str]:
        """What the person who started torchrun should know."""
        if is_main() and self.launch.is_elastic and is_one_machine() and listens_everywhere(os.getppid()):
            return [
                "torchrun itself listens on all addresses of this machine; with all ranks on it, start without torchrun "
                "(hardware.devices=N), or give torchrun --rdzv-backend c10d --rdzv-conf store_type=file "
                "--rdzv-endpoint=NEW_FILE --local-addr=127.0.0.1"
            ]
        return []

    def begin(self, progress: Iterable[int]) -> None:
        """Take the run folder over; the first rank does, before anybody writes there.

        Args:
            progress: what is done; it grows with everything that need not be done again, the last one is a step.

        Raises:
            RunEndedError: too many starts came no further.
        """
        if is_main():
            self.lease.take()
            (self.folder / FOLDER / REQUEST).unlink(missing_ok=True)
            number, most = generation_in(self.folder), self.config.max_restarts
            try:
                begin_attempt(self.folder, self.launch, [*progress], attempt=number, max_restarts=most)
            except RunEndedError as ended:
                write_exit_reason(self.folder, ended.reason)
                raise

    def open(self) -> None:
        """Every rank: the run folder is there."""
        self.attempt = generation_in(self.folder)
        self._token = self.lease.token if is_main() else token_in(self.folder)
        self.heartbeat.open(self.attempt)
        self._has_begun = True
        threading.Thread(target=self._look_on, name="audio_lm-lease", daemon=True).start()

    @property
    def is_newest(self) -> bool:
        """Whether no later start has taken the run folder over."""
        self.look_at_lease()
        return self._has_begun and not self.is_lost

    def look_at_lease(self) -> None:
        """See whether a later start has the run folder."""
        if self._has_begun and token_in(self.folder) not in ("", self._token):
            self.is_lost = True

    def _look_on(self) -> None:
        """See it with every heartbeat, in a thread of its own: a disk that hangs must not stop the pulse."""
        while not self._is_over.wait(BEAT):
            self.look_at_lease()

    def check_ours(self, agreed: Callable[[int], int]) -> None:
        """All ranks go on only while no later start has the run folder.

        Raises:
            UserError: one has.
        """
        self.look_at_lease()
        if agreed(int(self.is_lost)):
            raise self.lease.lost

    def saving(self) -> AbstractContextManager[None]:
        """What every save stands in."""
        return self.heartbeat.within("save", self.config.first_step_seconds)

    def building(self) -> AbstractContextManager[None]:
        """What making or loading a model stands in."""
        return self.heartbeat.within("building", self.config.building_seconds, in_step=False)

    def wait(self, ranks: ProcessGroups) -> None:
        """Until all are here; then, if any of them was told to stop, none goes on.

        Raises:
            RunEndedError: one was told.
            UserError: a later start has the run folder.
        """
        self.look_at_lease()
        told = ranks.wait(LOST if self.is_lost else encode_signal(SIGNALS.received, rank()), self._pass_on)
        if told >= LOST:
            raise self.lease.lost
        if told:
            number, of_rank = decode_signal(told)
            raise RunEndedError(self.told(number, of_rank, self.heartbeat.stage, self.heartbeat.step))

    def leave(self, number: int, of_rank: int) -> NoReturn:
        """End a stage before its last step; a checkpoint is there.

        Raises:
            KeyboardInterrupt: somebody pressed Ctrl-C.
            RunEndedError: a signal came.
        """
        heartbeat = self.heartbeat
        if number == signal.SIGINT:
            raise KeyboardInterrupt(
                f"stopped at step {heartbeat.step} of stage {heartbeat.stage!r}; resume=auto goes on from there"
            )
        raise RunEndedError(self.told(number, of_rank, heartbeat.stage, heartbeat.step))

    def told(self, number: int, of_rank: int, stage: str | None, step: int | None) -> ExitReason:
        """The end of a run that was told to stop."""
        name = signal.Signals(number).name
        # torchrun tells its ranks so too when a node comes back, and then means them to go on.
        may_go_on = self.config.any_num_nodes and number == signal.SIGTERM
        place = "before its first step" if step is None else f"after step {step} of stage {stage!r}"
        return ExitReason(
            "told",
            f"stopped {place}, for rank {of_rank} had {name}; resume=auto goes on from there",
            "" if may_go_on else self.launch.id,
            self.attempt,
            signal=name,
            rank=of_rank,
            stage=stage,
            step=step,
        )

    def is_stopping(self) -> bool:
        """Whether somebody who waits for this rank, or it, was told to stop."""
        return bool(SIGNALS.received) or (self.folder / FOLDER / REQUEST).exists()

    def until_stopped(self, items: Iterable[Item], *, agreed: Callable[[int], int] = int) -> Iterator[Item]:
        """Items of some long work, each a sign of life; they end with an error when it is to be left.

        Args:
            agreed: the largest of the ranks' numbers, where all of them work through the same items together.

        Raises:
            PreemptedError: a rank was told to stop.
        """
        for item in items:
            self.heartbeat.tick()
            if agreed(self.is_stopping() or self.is_lost):
                raise PreemptedError
            yield item

    def note_error(self, error: BaseException) -> None:
        """Write down what this rank dies of, at once and once."""
        if not self.is_newest or error is self._noted or not isinstance(error, Exception):
            return
        if isinstance(error, RunEndedError):
            return
        self._noted = error
        self.heartbeat.phase("failed", self.config.frozen_seconds)
        if is_lost_peer(error) and first_error(self.folder, self.attempt, but=rank(), wait=FOR_A_CAUSE):
            return
        heartbeat = self.heartbeat
        ours = error_of(
            error,
            rank=rank(),
            stage=heartbeat.stage,
            step=heartbeat.step,
            clip_ids=heartbeat.clip_ids,
            launch=self.launch,
            attempt=self.attempt,
        )
        with _if_there_is_room(self.folder):
            put_error(self.folder, ours, is_repeatable=not is_lost_peer(error))

    def _pass_on(self) -> None:
        if SIGNALS.received and self._has_begun:
            (self.folder / FOLDER / REQUEST).touch()

    def _say_goodbye(self, error: BaseException | None) -> None:
        if error is None:
            self._write("finished", "all stages are trained and judged")
        elif isinstance(error, KeyboardInterrupt):
            self._write("interrupted", str(error) or "stopped by Ctrl-C")
        elif isinstance(error, RunEndedError):
            if self.is_newest and is_main():
                with _if_there_is_room(self.folder):
                    write_exit_reason(self.folder, error.reason)
        elif isinstance(error, Exception):
            self._leave_with_cause(error)

    def _leave_with_cause(self, error: Exception) -> None:
        """Say what the run really ended of, where this rank knows it.

        Raises:
            RunEndedError: with the words of the launch's end, or of the first rank that failed.
        """
        reason = read_exit_reason(self.folder)
        if reason is not None and reason.ends(self.launch):
            traceback.print_exception(error)
            raise RunEndedError(reason) from error
        is_lost = self._has_begun and is_lost_peer(error)
        cause = first_error(self.folder, self.attempt, but=rank()) if is_lost else None
        if cause is not None:
            sys.stderr.write(cause.trace)
            sentence = f"{cause.sentence}; that was the first to fail, rank {rank()} has only lost it"
            raise RunEndedError(ExitReason("lost", sentence, self.launch.id, self.attempt)) from error

    def _write(self, reason: Reason, sentence: str) -> None:
        if is_main() and self.is_newest:
            said = ExitReason(reason, sentence, self.launch.id, self.attempt, step=self.heartbeat.step)
            with _if_there_is_room(self.folder):
                write_exit_reason(self.folder, said)

    def _let_go(self, *, is_well: bool) -> None:
        self._is_over.set()
        end_data_workers()
        for number, handler in self._before.items():
            if not self.launch.is_elastic:
                signal.signal(number, handler)
        if self.launch.is_elastic and not is_well:  # the process ends now, and is watched while it does
            self.heartbeat.phase("exit", self.config.frozen_seconds)
        else:
            self.heartbeat.stop()


@contextmanager
def _if_there_is_room(folder: Path) -> Iterator[None]:
    """Why a run ends is kept where its disk takes it; where not, who looks on still hears it."""
    try:
        yield
    except OSError as error:
        log.warning(
            "survival: %s takes nothing (%s); why the run ends is not kept there", folder, error.strerror
        )


class PreemptedError(Exception):
    """A long piece of work was left because a rank was told to stop."""
