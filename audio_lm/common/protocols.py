"""Named types of functions that are passed as arguments, where several packages need them."""

from typing import Protocol, TypeVar

Result_co = TypeVar("Result_co", covariant=True)


class Report(Protocol):
    """Receiver of messages for a person."""

    def __call__(self, message: str, /) -> object:
        """Show or keep a message of one line."""


class Factory(Protocol[Result_co]):
    """Computation without arguments, run when its result is needed."""

    def __call__(self) -> Result_co:
        """Compute the result."""


class Condition(Protocol):
    """Test that may be repeated."""

    def __call__(self) -> bool:
        """Check the condition now."""


class Advance(Protocol):
    """Adds to an amount of work done, for a progress bar."""

    def __call__(self, amount: int, /) -> None:
        """Add an amount."""


def ignore_advance(amount: int, /) -> None:
    """Ignore an amount of work, where no progress is shown."""
