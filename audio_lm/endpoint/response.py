"""Responses of `transformers serve` as clients of OpenAI's protocol expect them.

The model has its public name instead of the path of its folder, errors have the format of the protocol, and a stream
ends with ``[DONE]``.
"""

import json
import logging
from collections.abc import MutableMapping
from typing import Any, Protocol

from audio_lm.endpoint.request import ServedModel
from audio_lm.endpoint.request_error import RequestError

STREAM_ERROR = (
    b'data: {"error": '  # transformers 5.23, `serving/chat_completion.py`: the message is not even escaped
)
DONE = b"data: [DONE]\n\n"

log = logging.getLogger(__name__)
Event = MutableMapping[str, Any]


class Send(Protocol):
    """Sink of events of a response."""

    async def __call__(self, event: Event, /) -> None:
        """Send an event."""


class Response:
    """Events of one response, translated; all but streams are held until they are complete.

    Attributes:
        failure: error to send instead of what is held.
        is_started: True once a part was sent.
    """

    def __init__(self, send: Send, model: ServedModel) -> None:
        self._send = send
        # `transformers serve` adds a revision to every name.
        self._own = json.dumps(f"{model.path}@main").encode()
        self._public = json.dumps(model.name).encode()
        self._start: Event = {}
        self._held = b""
        self.is_started = False
        self.failure: RequestError | None = None

    async def send(self, event: Event) -> None:
        """Take an event of the model's server."""
        if event["type"] == "http.response.start":
            self._start = event
            if _is_stream(event):
                self.is_started = True
                await self._send(event)
            return
        if not self.is_started:
            self._held += event.get("body", b"")
            return
        body = _without_raw_error(event.get("body", b"").replace(self._own, self._public))
        is_last = not event.get("more_body")
        if is_last:
            body += DONE
        await self._send({**event, "body": body})

    async def finish(self) -> None:
        """Send what is held."""
        if self.is_started:
            return
        status, body = self._start.get("status", 500), self._held.replace(self._own, self._public)
        if self.failure is not None or not 200 <= status < 300:
            error = self.failure or RequestError(_detail(body), status=status, code="refused_by_model_server")
            status, body = error.status, error.body()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


def _is_stream(start: Event) -> bool:
    headers = {name.lower(): value for name, value in start.get("headers", [])}
    return start["status"] == 200 and headers.get(b"content-type", b"").startswith(b"text/event-stream")


def _without_raw_error(body: bytes) -> bytes:
    """Replace the message of an error in a stream, which may hold paths and is no valid JSON."""
    before, found, message = body.rpartition(STREAM_ERROR)
    if not found or (before and not before.endswith(b"\n\n")):
        return body
    log.error("a stream failed: %s", message.decode(errors="replace").strip())
    failure = RequestError(
        "the model failed on this request; see the server's log", status=500, code="internal"
    )
    return before + b"data: " + failure.body() + b"\n\n"


def _detail(body: bytes) -> str:
    """Message in an error of FastAPI."""
    try:
        detail = json.loads(body).get("detail", "")
    except (ValueError, AttributeError):
        detail = ""
    return str(detail or "the model's server refused the request")[:500]
