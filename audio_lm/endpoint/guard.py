"""ASGI application in front of that of `transformers serve`: only checked requests pass, every refusal has OpenAI's format.

Three paths exist: chat completions, the list of the one model, and health. The others of `transformers serve` (which
load any model, fetch any address or read any file) do not.
"""

import asyncio
import hmac
import json
import logging
from collections.abc import Mapping, MutableMapping
from typing import Any, Protocol

from audio_lm.endpoint.config import ServeConfig, is_loopback
from audio_lm.endpoint.request import ServedModel, check_request
from audio_lm.endpoint.request_error import RequestError
from audio_lm.endpoint.response import Response

CHAT, MODELS, HEALTH = "/v1/chat/completions", "/v1/models", "/health"
METHOD_OF_PATH = {CHAT: "POST", MODELS: "GET", HEALTH: "GET"}

log = logging.getLogger(__name__)
Scope = MutableMapping[str, Any]


class Receive(Protocol):
    """Source of events of a request."""

    async def __call__(self) -> MutableMapping[str, Any]:
        """Wait for the next event."""


class Send(Protocol):
    """Sink of events of a response."""

    async def __call__(self, event: MutableMapping[str, Any], /) -> None:
        """Send an event."""


class Application(Protocol):
    """ASGI application."""

    async def __call__(self, scope: Scope, receive: Any, send: Any, /) -> None:
        """Answer a request."""


class Guard:
    """Checks in front of an application that serves one model."""

    def __init__(self, application: Application, model: ServedModel, config: ServeConfig) -> None:
        self._application, self._model, self._config = application, model, config
        self._limits = config.limits
        self._num_waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"a connection of type {scope['type']!r}, which no path has")
        try:
            await self._route(scope, receive, send)
        except RequestError as error:
            await _reply(send, error.status, error.body(), _headers_of(error))

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        self._check_host(headers)
        path, method = scope["path"].rstrip("/"), scope["method"]
        if path not in METHOD_OF_PATH:
            known = ", ".join(METHOD_OF_PATH)
            raise RequestError(f"no path {path[:80]!r}; expected {known}", status=404, code="unknown_url")
        if method != METHOD_OF_PATH[path]:
            raise RequestError(
                f"{path} takes {METHOD_OF_PATH[path]}, not {method}", status=405, code="wrong_method"
            )
        if path == HEALTH:
            await _reply(send, 200, json.dumps({"status": "ok"}).encode())
            return
        self._check_key(headers)
        if path == MODELS:
            row = {"id": self._model.name, "object": "model", "created": 0, "owned_by": "audio_lm"}
            await _reply(send, 200, json.dumps({"object": "list", "data": [row]}).encode())
            return
        if self._num_waiting >= self._limits.max_waiting:
            raise RequestError(
                f"{self._num_waiting} requests are under way; try again later",
                status=429,
                code="rate_limit_exceeded",
            )
        self._num_waiting += 1
        try:
            await self._complete(scope, headers, receive, send)
        finally:
            self._num_waiting -= 1

    def _check_host(self, headers: Mapping[str, str]) -> None:
        """Refuse pages of the web that reach this machine under a name of their own (DNS rebinding)."""
        host = headers.get("host", "").rpartition("@")[2]
        name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        if self._config.is_loopback and not is_loopback(name):
            raise RequestError(
                f"the host {name[:80]!r} is none of this machine's own names; expected 127.0.0.1 or localhost",
                status=403,
                code="wrong_host",
            )

    def _check_key(self, headers: Mapping[str, str]) -> None:
        kind, _, key = headers.get("authorization", "").partition(" ")
        is_right = kind.lower() == "bearer" and hmac.compare_digest(
            key.strip().encode(), self._config.key.encode()
        )
        if self._config.key and not is_right:
            raise RequestError(
                "the key is missing or wrong; expected the header 'Authorization: Bearer KEY'",
                status=401,
                code="invalid_api_key",
            )

    async def _complete(self, scope: Scope, headers: Mapping[str, str], receive: Receive, send: Send) -> None:
        content = await self._read(headers, receive)
        # In a thread: decoding audio would stop the streams of other clients.
        body = await asyncio.to_thread(self._translate, content)
        del content
        response = Response(send, self._model)
        inner = {**scope, "headers": _inner_headers(scope["headers"], len(body))}
        try:
            await self._application(inner, _Replay(body, receive), response.send)
        except Exception as error:  # the boundary to a library: one request must not end the server
            if response.is_started:
                raise
            response.failure = _refusal_of(error)
        await response.finish()

    def _translate(self, content: bytes) -> bytes:
        try:
            body = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise RequestError(f"the request is no JSON ({error})"[:200], code="invalid_json") from None
        return json.dumps(check_request(body, self._model, self._limits)).encode()

    async def _read(self, headers: Mapping[str, str], receive: Receive) -> bytes:
        """Read the body of a request, no further than the limit."""
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            # A page of the web can post any other type to this machine without a preflight request.
            raise RequestError("Content-Type is not application/json", status=415, code="wrong_content_type")
        stated = headers.get("content-length", "")
        if stated.isdecimal() and int(stated) > self._limits.max_body_bytes:
            raise self._too_large()
        chunks, num_bytes = [], 0
        try:
            async with asyncio.timeout(self._limits.read_seconds):
                while True:
                    event = await receive()
                    if event["type"] == "http.disconnect":
                        raise RequestError("the client left", status=499, code="client_left")
                    chunks.append(event.get("body", b""))
                    num_bytes += len(chunks[-1])
                    if num_bytes > self._limits.max_body_bytes:
                        raise self._too_large()
                    if not event.get("more_body"):
                        return b"".join(chunks)
        except TimeoutError:
            raise RequestError(
                f"the request was incomplete after {self._limits.read_seconds:g} s",
                status=408,
                code="read_timeout",
            ) from None

    def _too_large(self) -> RequestError:
        limit = self._limits.max_body_bytes
        return RequestError(
            f"the request is larger than {limit} bytes; send fewer or shorter clips",
            status=413,
            code="request_too_large",
        )


class _Replay:
    """Source of events that gives a new body first, then the end of the connection."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._event: MutableMapping[str, Any] | None = {
            "type": "http.request",
            "body": body,
            "more_body": False,
        }
        self._receive = receive

    async def __call__(self) -> MutableMapping[str, Any]:
        """Give the body once, then wait for the client to leave."""
        if (event := self._event) is not None:
            self._event = None
            return event
        return await self._receive()


def _refusal_of(error: Exception) -> RequestError:
    """Error of the model's server as a response."""
    if type(error).__name__ == "TemplateError":  # of jinja2: raised by the chat template for a conversation
        return RequestError(f"the model's prompt format refuses the conversation: {error}", param="messages")
    log.error("a request failed: %s: %s", type(error).__name__, error)
    return RequestError("the model failed on this request; see the server's log", status=500, code="internal")


def _inner_headers(headers: list[tuple[bytes, bytes]], num_bytes: int) -> list[tuple[bytes, bytes]]:
    """Headers for the model's server: without the key, with the length of the new body."""
    left_out = {b"authorization", b"content-length", b"transfer-encoding", b"x-request-id"}
    kept = [(name, value) for name, value in headers if name.lower() not in left_out]
    return [*kept, (b"content-length", str(num_bytes).encode())]


def _headers_of(error: RequestError) -> list[tuple[bytes, bytes]]:
    """Further headers of a refusal; after an unread body the connection cannot be used again."""
    headers = [(b"retry-after", b"1")] if error.status == 429 else []
    return [*headers, (b"connection", b"close")] if error.status in (408, 413, 415, 429) else headers


async def _reply(
    send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    own = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*own, *(headers or [])]})
    await send({"type": "http.response.body", "body": body})
