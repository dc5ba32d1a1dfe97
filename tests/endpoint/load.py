"""Clients that query an endpoint at the same time, and the memory of its process.

python -m tests.endpoint.load SECONDS     # a tiny model of random weights; prints the figures as JSON
"""

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import openai
import psutil

from audio_lm.common.chat_parts import audio_part, message, text_part, wave_part
from tests.endpoint.served_model import (
    NUM_TOKENS,
    QUESTION,
    GreedyModel,
    clip,
    decoded,
    encoded,
    write_model,
)

NUM_CLIENTS = 8
NUM_CLIPS = 16
SECONDS_TO_START = 240
WRONG = (
    ({"messages": []}, 400),
    ({"messages": [message("user", "")]}, 400),
    ({"model": "other"}, 404),
    ({"messages": [message("user", [wave_part(clip(0), 16_000)] * 10)]}, 400),
    ({"messages": [message("user", [{"type": "input_audio", "input_audio": {"data": "%", "format": "wav"}}])]}, 400),
    ({"messages": [message("user", [{"type": "input_audio", "input_audio": {"data": "aGVsbG8=", "format": "wav"}}])]}, 400),
    ({"messages": [message("user", "a" * (33 << 20))]}, 413),
)  # fmt: skip
"""Requests and the status that each must get."""


@dataclass
class Figures:
    seconds: float = 0.0
    num_answers: int = 0
    num_different: int = 0
    mixed: list = field(default_factory=list)
    errors: list = field(default_factory=list)
    num_refused: int = 0
    wrongly_refused: list = field(default_factory=list)
    mib: list = field(default_factory=list)
    waits: list = field(default_factory=list)
    addresses: set = field(default_factory=set)

    def table(self):
        third = len(self.mib) // 3
        return {
            "seconds": round(self.seconds, 1),
            "clients": NUM_CLIENTS,
            "answers": self.num_answers,
            "different_answers": self.num_different,
            "mixed": len(self.mixed),
            "errors": len(self.errors),
            "listens_on": sorted(self.addresses),
            "refused": self.num_refused,
            "wrongly_refused": len(self.wrongly_refused),
            "mib_after_a_third": round(statistics.median(self.mib[third : third + 5])),
            "mib_at_the_end": round(statistics.median(self.mib[-5:])),
            "mib_at_most": round(max(self.mib)),
            "seconds_per_answer": {
                "median": round(statistics.median(self.waits), 3),
                "longest": round(max(self.waits), 2),
            },
        }


@contextmanager
def running_endpoint(folder, *options):
    """Start the command; yields its URL and its process."""
    command = [
        sys.executable,
        "-u",
        "-m",
        "audio_lm.cli.main",
        "serve",
        str(folder),
        "--api",
        "--port",
        "0",
        *options,
    ]
    log = Path(folder).with_name("serve.log")
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            yield wait_for_url(process, log), process
        finally:
            process.terminate()
            process.wait(30)


def wait_for_url(process, log):
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline:
        lines = [line for line in log.read_text().splitlines() if line.startswith("http://")]
        if lines:
            return lines[0].split()[0]
        assert process.poll() is None, log.read_text()
        time.sleep(0.2)
    raise AssertionError(log.read_text())


def questions(greedy):
    """Parts of a message and the model's greedy answer to them: WAV, MP3, and two clips."""
    for number in range(NUM_CLIPS):
        content = encoded(number, "MP3" if number % 2 else "WAV")
        parts, waves = [audio_part(content)], [decoded(content)]
        if number % 4 == 3:
            other = encoded(number + 1, "WAV")
            parts, waves = [*parts, audio_part(other)], [*waves, decoded(other)]
        yield [*parts, QUESTION], greedy.answer(*waves)


def measure(folder, seconds):
    greedy = GreedyModel(folder)
    conversations = [*questions(greedy)]
    del greedy
    figures = Figures(num_different=len({answer for _, answer in conversations}))
    name = Path(folder).name
    with running_endpoint(folder) as (url, process):
        end = time.monotonic() + seconds
        targets = [
            (query_until, (url, name, conversations, number, end, figures)) for number in range(NUM_CLIENTS)
        ]
        targets += [(send_wrong_until, (url, name, end, figures))]
        threads = [threading.Thread(target=target, args=arguments) for target, arguments in targets]
        start = time.monotonic()
        for thread in threads:
            thread.start()
        server = psutil.Process(process.pid)
        listening = [one for one in server.net_connections("inet") if one.status == psutil.CONN_LISTEN]
        figures.addresses = {one.laddr.ip for one in listening}
        while any(thread.is_alive() for thread in threads):
            figures.mib.append(server.memory_info().rss / 2**20)
            time.sleep(0.5)
        figures.seconds = time.monotonic() - start
    return figures


def query_until(url, name, conversations, number, end, figures):
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=60) as client:
        place = number
        while time.monotonic() < end:
            parts, expected = conversations[place % len(conversations)]
            start = time.monotonic()
            try:
                answer = one_answer(client, name, parts, is_stream=place % 3 == 0)
            except openai.OpenAIError as error:
                figures.errors.append(repr(error))
                continue
            figures.waits.append(time.monotonic() - start)
            figures.num_answers += 1
            if answer != expected:
                figures.mixed.append((place, expected, answer))
            place += 5


def one_answer(client, name, parts, *, is_stream):
    reply = client.chat.completions.create(
        model=name, messages=[message("user", parts)], max_tokens=NUM_TOKENS, stream=is_stream
    )
    if not is_stream:
        return reply.choices[0].message.content
    return "".join(event.choices[0].delta.content or "" for event in reply)


def send_wrong_until(url, name, end, figures):
    good = {"model": name, "messages": [message("user", [text_part("hi")])]}
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=60) as client:
        while time.monotonic() < end:
            for change, status in WRONG:
                try:
                    client.chat.completions.create(**good | change)
                    found = 200
                except openai.APIStatusError as error:
                    found = error.status_code if error.type == "invalid_request_error" else repr(error)
                except openai.OpenAIError as error:
                    found = repr(error)
                figures.num_refused += 1
                if found != status:
                    figures.wrongly_refused.append((list(change), status, found))
            time.sleep(0.5)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as parent:
        found = measure(write_model(Path(parent) / "mine"), float(sys.argv[1]))
    print(json.dumps(found.table(), indent=1))
    print(*found.mixed[:3], *found.errors[:3], *found.wrongly_refused[:5], sep="\n")
