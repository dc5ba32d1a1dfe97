"""Responses in the format of the protocol."""

import json

from audio_lm.endpoint.config import ServeConfig
from audio_lm.endpoint.guard import Guard
from audio_lm.endpoint.request import ServedModel
from tests.endpoint.asgi import Inner, call
from tests.endpoint.test_guard import BODY

STREAM = "text/event-stream; charset=utf-8"
MODEL = ServedModel("mine", "/folder")


def answered(*pieces, status=200, content_type=STREAM):
    return call(Guard(Inner(status, pieces, content_type), MODEL, ServeConfig()), body=BODY)


def test_a_stream_passes_with_the_public_name_and_an_end():
    chunk = b'data: {"model":"/folder@main","choices":[{"delta":{"content":"a"}}]}\n\n'
    reply = answered(chunk, chunk, b"")
    assert reply.body == 2 * chunk.replace(b"/folder@main", b"mine") + b"data: [DONE]\n\n"


def test_a_quoted_path_in_an_answer_is_left_as_it_is():
    body = json.dumps({"model": "/folder@main", "text": 'I say "model": "/folder@main"'}).encode()
    table = json.loads(answered(body, content_type="application/json").body)
    assert table == {"model": "mine", "text": 'I say "model": "/folder@main"'}


def test_an_error_within_a_stream_becomes_json(caplog):
    first = b'data: {"choices":[]}\n\n'
    reply = answered(first + b'data: {"error": "no "such" /path"}\n\n', b"")
    events = [line.removeprefix("data: ") for line in reply.body.decode().split("\n\n") if line]
    assert [events[0], events[-1]] == ['{"choices":[]}', "[DONE]"]
    assert json.loads(events[1])["error"]["code"] == "internal"
    assert "/path" not in reply.body.decode()
    assert "/path" in caplog.text


def test_an_answer_that_quotes_an_error_is_no_error():
    chunk = b'data: {"choices":[{"delta":{"content":"data: {\\"error\\": 1}"}}]}\n\n'
    assert answered(chunk, b"").body == chunk + b"data: [DONE]\n\n"


def test_an_error_without_a_message_has_one():
    for body in (b"Internal Server Error", b"[]", b""):
        reply = answered(body, status=503, content_type="text/plain")
        assert (reply.status, reply.error["code"]) == (503, "refused_by_model_server")
        assert reply.error["message"]
