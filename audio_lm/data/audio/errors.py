"""Errors of audio files."""

from typing import Literal

from audio_lm.common.errors import DataError

Reason = Literal["missing", "decode", "short", "rate", "nonfinite", "silent", "range", "timeout", "line"]


class AudioError(DataError):
    """An audio file cannot be used; ``reason`` classifies the fault."""

    def __init__(self, message: str, reason: Reason = "decode") -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type["AudioError"], tuple[str, Reason]]:
        return type(self), (str(self), self.reason)
