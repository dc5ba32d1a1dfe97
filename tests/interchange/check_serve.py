"""Compare ``transformers serve`` on an exported folder with our reference: ``check_serve.py DIR [PORT]``.

Starts a local server, sends the conversations of DIR/reference.json with ``input_audio``, and exits with 1
unless every answer equals the reference. The log of the server is DIR/serve.log. Needs
``transformers[serving]``, soundfile and soxr.
"""

import base64
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

NUM_QUESTIONS = 10
SECONDS_TO_START = 180


def main(folder: Path, port: int) -> int:
    model = str((folder / "model").resolve())
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", model]
    command += ["--device", "cpu", "--host", "127.0.0.1", "--port", str(port)]
    records = json.loads((folder / "reference.json").read_text(encoding="utf-8"))
    chosen = records[:: max(1, len(records) // NUM_QUESTIONS)]
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / "hub").mkdir()  # GET /v1/models fails without it
        settings = {**os.environ, "HF_HOME": home, "HF_HUB_OFFLINE": "1"}
        with (folder / "serve.log").open("wb") as log:
            server = subprocess.Popen(command, env=settings, stdout=log, stderr=subprocess.STDOUT)
        try:
            seconds = wait_for_server(port, server)
            replies = [query(folder, record, port) for record in chosen]
        finally:
            server.terminate()
            server.wait(30)
    equal = sum(text == record["answer"] for text, record in zip(replies, chosen, strict=True))
    figures = {"questions": len(chosen), "equal_answers": equal, "seconds_to_start": round(seconds, 1)}
    print(json.dumps({**figures, "first": replies[:3]}))
    return int(equal != len(chosen))


def wait_for_server(port: int, server: subprocess.Popen) -> float:
    """Wait until the server responds; returns the seconds this took."""
    start = time.monotonic()
    while time.monotonic() - start < SECONDS_TO_START:
        if server.poll() is not None:
            raise SystemExit(f"the server exited with {server.returncode}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return time.monotonic() - start
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(1)
    raise SystemExit(f"no answer in {SECONDS_TO_START} s")


def query(folder: Path, record: dict, port: int) -> str:
    """Send a conversation and return the answer."""
    body = {
        "model": str((folder / "model").resolve()),
        "messages": [
            {**turn, "content": [as_openai(folder, part) for part in turn["content"]]}
            for turn in record["messages"]
        ],
        "max_tokens": 24,
        "stream": False,
    }
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=120) as reply:
        return json.load(reply)["choices"][0]["message"]["content"]


def as_openai(folder: Path, part: dict) -> dict:
    """Convert a part of a turn to the format of OpenAI clients."""
    if part["type"] == "text":
        return part
    data = base64.b64encode((folder / part["path"]).read_bytes()).decode()
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 8417))
