"""The run around a stage, as the callbacks of the stage see it.

``run.session`` implements it for a run with a folder, a lease and signals; ``LocalGuard`` is for a ``Trainer`` of
one's own.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from audio_lm.common.audio_units import Seconds
from audio_lm.common.errors import UserError
from audio_lm.training.distributed import all_gather_object


class RunGuard(Protocol):
    """Lease, messages and shared decisions of one start of a run."""

    @property
    def is_lost(self) -> bool:
        """True once a newer start has taken the run folder."""

    def lost_error(self) -> UserError:
        """Error to raise then."""

    def agree(self, number: int) -> int:
        """Largest number over all ranks; a collective."""

    def writing(self) -> AbstractContextManager[bool]:
        """Lock the run folder for one write; False where it belongs to a newer start."""

    def saving(self) -> AbstractContextManager[None]:
        """Context of every save of a checkpoint."""

    def commit(self) -> None:
        """Sync the curves to disk before a checkpoint is published; the first rank calls it.

        Raises:
            UserError: a newer start has the run folder.
        """

    def note_error(self, error: BaseException) -> None:
        """Record the error that ends this rank, before anything is torn down."""

    def limit_collectives(self, seconds: Seconds) -> None:
        """Set the timeout of all collectives."""

    def print(self, message: str) -> None:
        """Show a message on the first rank's console."""


class LocalGuard:
    """Guard without a run: nothing to lose, nothing to record."""

    is_lost = False

    def lost_error(self) -> UserError:
        """Error that is never needed."""
        return UserError("a newer start has the run folder")

    def agree(self, number: int) -> int:
        """Largest number over all ranks; a collective."""
        return max(all_gather_object(number))

    def writing(self) -> AbstractContextManager[bool]:
        """Write at any time."""
        return nullcontext(True)

    def saving(self) -> AbstractContextManager[None]:
        """Save without a watchdog."""
        return nullcontext()

    def commit(self) -> None:
        """Publish a checkpoint at any time."""

    def note_error(self, error: BaseException) -> None:
        """Leave the error to the caller."""

    def limit_collectives(self, seconds: Seconds) -> None:
        """Leave the timeout as it is."""

    def print(self, message: str) -> None:
        """Print to standard output."""
        print(message)  # noqa: T201
