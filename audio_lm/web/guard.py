"""Checks of every request before gradio sees it: password, address, size; and headers that keep the page on this machine.

gradio's own login leaves some routes open; this is around all of them. HTTP Basic needs no page, cookie or storage of
its own, and every browser knows it.
"""

import asyncio
import base64
import binascii
import hmac
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
SECONDS_AFTER_WRONG_PASSWORD = 1.0
POLICY = "; ".join(
    (
        "default-src 'self'",
        # gradio has inline scripts, and compiles templates.
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
    "cache-control": "no-store",
}


class Guard:
    """ASGI middleware around the whole page."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_body_bytes: int,
        password: str | None = None,
        host_names: Sequence[str] = (),
    ) -> None:
        """Wrap an application.

        Args:
            password: of HTTP Basic, with any user name; None for none.
            host_names: accepted in ``Host``; empty accepts all. A page of another site could otherwise read a server
                on loopback by a name that resolves to 127.0.0.1 (DNS rebinding).
        """
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._password = None if password is None else password.encode()
        self._host_names = frozenset(host_names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if refusal := await self._refusal(headers):
            await refusal(scope, receive, _with_headers(send))
            return
        await self._answer_limited(scope, receive, _with_headers(send))

    async def _answer_limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request whose length may not be stated; a body over the limit ends as if the client had left."""
        num_bytes, is_answered = 0, False

        async def receive_limited() -> Message:
            nonlocal num_bytes
            message = await receive()
            num_bytes += len(message.get("body", b""))
            return message if num_bytes <= self._max_body_bytes else {"type": "http.disconnect"}

        async def send_unless_too_large(message: Message) -> None:
            nonlocal is_answered
            if num_bytes <= self._max_body_bytes or is_answered:
                is_answered = True
                await send(message)

        try:
            await self._app(scope, receive_limited, send_unless_too_large)
        except ClientDisconnect:
            if num_bytes <= self._max_body_bytes:
                raise
        if not is_answered and num_bytes > self._max_body_bytes:
            await self._too_large()(scope, receive, send)

    async def _refusal(self, headers: Headers) -> PlainTextResponse | None:
        host = headers.get("host", "")
        if self._host_names and urlsplit(f"//{host}").hostname not in self._host_names:
            return PlainTextResponse(
                f"the address {host[:80]!r} is not served -- open the one that `audio-lm serve` has printed",
                403,
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return PlainTextResponse("requests of other sites are not answered -- open the page itself", 403)
        if not self._has_password(headers.get("authorization", "")):
            if "authorization" in headers:
                await asyncio.sleep(SECONDS_AFTER_WRONG_PASSWORD)
            challenge = {"www-authenticate": 'Basic realm="audio-lm", charset="UTF-8"'}
            return PlainTextResponse(
                "a password is needed -- any user name, and the password of the server", 401, challenge
            )
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._max_body_bytes:
            return self._too_large()
        return None

    def _has_password(self, authorization: str) -> bool:
        if self._password is None:
            return True
        scheme, _, encoded = authorization.partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            _, _, password = base64.b64decode(encoded, validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return False
        return hmac.compare_digest(password, self._password)

    def _too_large(self) -> PlainTextResponse:
        return PlainTextResponse(
            f"the request is larger than {self._max_body_bytes / 2**20:.0f} MiB -- upload fewer or shorter files",
            413,
        )


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                if name != "cache-control" or "cache-control" not in headers:
                    headers[name] = value
        await send(message)

    return send_with_headers
