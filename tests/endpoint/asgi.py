"""ASGI requests and applications, without a server."""

import asyncio
import json
from dataclasses import dataclass


@dataclass
class Reply:
    status: int
    headers: dict
    body: bytes

    @property
    def error(self):
        return json.loads(self.body)["error"]


def call(application, path="/v1/chat/completions", body=b"", *, method="POST", headers=None, chunks=None):
    """Send a request to an application and collect its response."""
    own = {"host": "127.0.0.1:1", "content-type": "application/json"} | (headers or {})
    parts = [body] if chunks is None else chunks
    events = [
        {"type": "http.request", "body": part, "more_body": number < len(parts) - 1}
        for number, part in enumerate(parts)
    ]
    sent = []

    async def receive():
        return events.pop(0) if events else {"type": "http.disconnect"}

    async def send(event):
        sent.append(event)

    scope = {
        "type": "http", "path": path, "method": method, "query_string": b"", "root_path": "", "http_version": "1.1",
        "scheme": "http", "server": ("127.0.0.1", 1), "client": ("127.0.0.1", 2),
        "headers": [(name.encode(), value.encode()) for name, value in own.items()],
    }  # fmt: skip
    asyncio.run(application(scope, receive, send))
    start, *rest = sent
    assert start["type"] == "http.response.start"
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return Reply(start["status"], headers, b"".join(event["body"] for event in rest))


class Inner:
    """Application that records the request and gives a scripted response."""

    def __init__(self, status=200, pieces=(b"{}",), content_type="application/json", error=None):
        self.status, self.pieces, self.content_type, self.error = status, pieces, content_type, error
        self.bodies, self.headers = [], []

    async def __call__(self, scope, receive, send):
        event = await receive()
        assert not event["more_body"]
        self.bodies.append(json.loads(event["body"]))
        self.headers.append(dict(scope["headers"]))
        if self.error is not None:
            raise self.error
        headers = [(b"content-type", self.content_type.encode()), (b"content-length", b"99")]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        for number, piece in enumerate(self.pieces):
            is_last = number == len(self.pieces) - 1
            await send({"type": "http.response.body", "body": piece, "more_body": not is_last})
