"""A thread that hands things to a receiver which may be away for a while.

Whoever trains posts a letter and goes on at once. Letters are delivered in
order; when the receiver does not answer they wait, and one line says so. What
a letter holds and who receives it is not known here.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import NamedTuple

from audio_lm.units import Seconds

FIRST_PAUSE: Seconds = 2.0
LONGEST_PAUSE: Seconds = 60.0
MAX_ATTEMPTS = 6  # of a letter that can be done without; two minutes

log = logging.getLogger(__name__)


class Letter(NamedTuple):
    """Something to be delivered."""

    subject: str
    send: Callable[[], object]
    is_essential: bool  # kept for as long as it takes


class Outbox:
    """Delivers letters in the order they were posted, and never raises into the thread that posts."""

    def __init__(
        self,
        *,
        receiver: str,
        errors: tuple[type[Exception], ...],
        is_refusal: Callable[[Exception], bool],
        first_pause: Seconds = FIRST_PAUSE,
    ) -> None:
        """Start the thread.

        Args:
            receiver: for the log lines.
            errors: what sending may raise; anything else is a fault of ours and ends the thread.
            is_refusal: whether trying the same letter again is pointless.
            first_pause: before the second attempt; doubled before each further one.
        """
        self._receiver = receiver
        self._errors = errors
        self._is_refusal = is_refusal
        self._first_pause = first_pause
        self._letters: deque[Letter] = deque()
        self._changed = threading.Condition()
        self._num_failures = 0
        self._is_away = False
        self._num_drains = 0
        self._is_closed = False
        self._subjects_refused: set[str] = set()
        self._thread = threading.Thread(target=self._work, name="audio_lm-tracking", daemon=True)
        self._thread.start()

    def post(self, subject: str, send: Callable[[], object], *, is_essential: bool = False) -> None:
        """Have ``send`` called by and by."""
        with self._changed:
            self._letters.append(Letter(subject, send, is_essential))
            self._changed.notify_all()

    def drain(self, seconds: Seconds) -> bool:
        """Wait until everything is delivered, an attempt fails, or time is up; True when all is delivered."""
        with self._changed:
            num_failures = self._num_failures
            self._num_drains += 1
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: not self._letters or self._num_failures > num_failures or not self._thread.is_alive(),
                timeout=seconds,
            )
            return not self._letters

    def close(self, seconds: Seconds) -> int:
        """Drain, stop the thread, and return how many letters were left."""
        self.drain(seconds)
        with self._changed:
            self._is_closed = True
            num_left = len(self._letters)
            self._changed.notify_all()
        return num_left

    def _work(self) -> None:
        try:
            while (letter := self._next()) is not None:
                self._deliver(letter)
        finally:
            with self._changed:
                self._is_closed = True
                self._changed.notify_all()

    def _next(self) -> Letter | None:
        with self._changed:
            self._changed.wait_for(lambda: self._letters or self._is_closed)
            return None if self._is_closed else self._letters[0]

    def _deliver(self, letter: Letter) -> None:
        pause = self._first_pause
        for num_attempts in count(1):
            if self._is_closed:
                return
            if self._is_settled(letter, num_attempts):
                break
            self._wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        with self._changed:
            self._letters.popleft()
            self._changed.notify_all()

    def _is_settled(self, letter: Letter, num_attempts: int) -> bool:
        """Try once; True when the letter was delivered or is given up."""
        try:
            letter.send()
        except self._errors as error:
            if self._is_refusal(error) or (num_attempts >= MAX_ATTEMPTS and not letter.is_essential):
                self._say_refused(letter, error)
                return True
            self._say_away(error)
            return False
        if self._is_away:
            log.warning("tracking: %s answers again; what was kept is being sent", self._receiver)
        self._is_away = False
        return True

    def _wait(self, pause: Seconds) -> None:
        """Sleep until the next attempt, or until somebody drains."""
        with self._changed:
            self._num_failures += 1
            self._changed.notify_all()
            num_drains = self._num_drains
            self._changed.wait_for(lambda: self._num_drains > num_drains or self._is_closed, timeout=pause)

    def _say_away(self, error: Exception) -> None:
        if not self._is_away:
            log.warning(
                "tracking: %s does not answer (%s); training goes on, values are kept in metrics.jsonl",
                self._receiver,
                first_line(error),
            )
        self._is_away = True

    def _say_refused(self, letter: Letter, error: Exception) -> None:
        if letter.subject not in self._subjects_refused:
            log.warning(
                "tracking: %s did not take %s (%s)", self._receiver, letter.subject, first_line(error)
            )
        self._subjects_refused.add(letter.subject)


def first_line(error: Exception) -> str:
    """The kind and the beginning of an error's message, for one line of a log.

    >>> first_line(OSError("no route"))
    'OSError: no route'
    """
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:120]}"
