"""Limits of the page: uploads, conversations, answers at a time."""

from dataclasses import dataclass

from audio_lm.common.audio_units import MAX_SECONDS, Seconds
from audio_lm.common.errors import UserError
from audio_lm.data.manifest.index import LongAudio

MIB = 2**20
MAX_FILES = 9  # of one message, as of one conversation turn


@dataclass(frozen=True)
class Limits:
    """Amounts that one server accepts; numbers are positive."""

    upload_mib: float = 25.0
    """Size of one audio file."""

    seconds: Seconds = 120.0
    """Duration of one audio file."""

    long_audio: LongAudio = "error"
    """Handling of a file over 30 s, the encoder's input; ``chunk`` makes several clips of it."""

    session_mib: float = 100.0
    """Size of all audio of one conversation, as 16-bit samples."""

    num_answers: int = 1
    """Answers that are generated at a time; other questions wait."""

    num_waiting: int = 32
    """Questions that wait; further ones are refused."""

    num_sessions: int = 32
    """Open conversations; each keeps its audio and its attention cache."""

    idle_seconds: Seconds = 3600.0
    """Time after which the conversation of a page that is still open may be deleted for a new one."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not isinstance(value, str) and value <= 0:
                raise UserError(f"limit {name} {value} -- expected a positive number; raise it")

    @property
    def clip_seconds(self) -> Seconds:
        """Duration of a file that is accepted."""
        return self.seconds if self.long_audio in ("truncate", "chunk") else min(self.seconds, MAX_SECONDS)

    @property
    def upload_bytes(self) -> int:
        """Maximum size of one file."""
        return int(self.upload_mib * MIB)

    @property
    def body_bytes(self) -> int:
        """Maximum size of one request: all files of a message and the form around them."""
        return MAX_FILES * self.upload_bytes + MIB
