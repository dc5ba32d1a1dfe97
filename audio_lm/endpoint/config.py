"""Settings of an endpoint: address and limits."""

import os
from dataclasses import dataclass, field
from ipaddress import ip_address

from audio_lm.common.audio_units import MAX_SECONDS, Seconds
from audio_lm.common.chat_endpoint import KEY_VARIABLE
from audio_lm.common.errors import UserError

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Limits:
    """Bounds of a request; one beyond them is answered with HTTP 4xx."""

    max_body_bytes: int = 32 << 20
    """Bytes of a request, audio in base64 included."""

    max_clips: int = 8
    """Clips of a conversation."""

    max_seconds: Seconds = MAX_SECONDS
    """Duration of a clip; transformers would cut a longer one silently."""

    max_text: int = 20_000
    """Characters of text of a conversation."""

    max_new_tokens: int = 1024
    """Tokens of an answer that a request may demand."""

    max_waiting: int = 32
    """Requests under way; a further one gets HTTP 429. The model answers one at a time."""

    read_seconds: Seconds = 60.0
    """Time in which the whole body of a request must arrive."""


@dataclass(frozen=True)
class ServeConfig:
    """Address of an endpoint."""

    host: str = LOOPBACK
    """Address to listen on. Another than that of this machine needs a key."""

    port: int = 8000
    """0 takes a free one."""

    name: str = ""
    """Name of the model in requests; empty takes that of its folder."""

    key: str = field(default="", repr=False)
    """Key that requests must bring; empty for none."""

    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Reject an open address without a key."""
        if not 0 <= self.port < 1 << 16:
            raise UserError(f"--port {self.port} -- expected 0 to 65535 -- choose one, or 0 for a free one")
        if not self.is_loopback and not self.key:
            raise UserError(
                f"--host {self.host} is open to other machines -- expected a key for that -- export {KEY_VARIABLE}, "
                f"which clients then send as their key"
            )

    @property
    def is_loopback(self) -> bool:
        """True if only this machine can connect."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """True for an address or name of this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def key_from_environment() -> str:
    """Key of this endpoint, from the environment; empty if there is none."""
    return os.environ.get(KEY_VARIABLE, "").strip()
