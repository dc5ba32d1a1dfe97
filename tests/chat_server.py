"""Small OpenAI-compatible chat server on loopback, for tests of its clients.

    with ChatServer("hello") as server:
        server.url                        # http://127.0.0.1:PORT/v1
        server.requests[0]                # body of the first request to /chat/completions, server.headers: lower-case
        server.faults.append(Fault(503))  # the next request fails, the one after that is answered

``answer`` is a text, or a function from the body of a request to a text; with ``"stream": true`` it comes word by word.
"""

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Fault:
    """Response to one request instead of an answer."""

    status: int = 200
    body: str = '{"error": {"message": "scripted"}}'
    content_type: str = "application/json"
    headers: dict = field(default_factory=lambda: {"retry-after-ms": "1"})
    seconds: float = 0.0
    """Pause before the response; the time-out of a client is below it."""


class ChatServer:
    def __init__(self, answer="hello", models=("tiny",)):
        self.answer, self.models = answer, models
        self.requests, self.headers, self.faults = [], [], []
        self.pause = 0.0  # seconds before each piece of a stream
        self.num_pieces_sent = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("OwnHandler", (Handler,), {"owner": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def text_for(self, body):
        return self.answer(body) if callable(self.answer) else self.answer


class Handler(BaseHTTPRequestHandler):
    owner: ChatServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        rows = [{"id": name, "object": "model"} for name in self.owner.models]
        self.reply(json.dumps({"object": "list", "data": rows}))

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.owner.requests.append(body)
        self.owner.headers.append({name.lower(): value for name, value in self.headers.items()})
        if self.owner.faults:
            fault = self.owner.faults.pop(0)
            time.sleep(fault.seconds)
            self.reply(fault.body, fault.status, fault.content_type, fault.headers)
        elif body.get("stream"):
            self.stream(self.owner.text_for(body), body["model"])
        else:
            message = {"role": "assistant", "content": self.owner.text_for(body)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self.reply(json.dumps({"id": "1", "model": body["model"], "choices": [choice]}))

    def reply(self, text, status=200, content_type="application/json", headers=None):
        content = text.encode()
        try:
            self.send_response(status)
            for name, value in {**(headers or {}), "Content-Type": content_type}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def stream(self, text, model):
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        pieces = [word if number == 0 else f" {word}" for number, word in enumerate(text.split(" "))]
        try:
            for piece in pieces if text else []:
                time.sleep(self.owner.pause)
                choice = {"index": 0, "delta": {"content": piece}, "finish_reason": None}
                event = {
                    "id": "1",
                    "object": "chat.completion.chunk",
                    "model": model,
                    "choices": [choice],
                }
                self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
                self.wfile.flush()
                self.owner.num_pieces_sent += 1
            self.wfile.write(b"data: [DONE]\n\n")
        except (BrokenPipeError, ConnectionResetError):
            pass
