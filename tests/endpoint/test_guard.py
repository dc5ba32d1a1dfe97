"""Guard in front of an application."""

import asyncio
import json

import pytest

from audio_lm.common.chat_parts import message
from audio_lm.endpoint.config import Limits, ServeConfig
from audio_lm.endpoint.guard import Guard
from audio_lm.endpoint.request import ServedModel
from tests.endpoint.asgi import Inner, call

MODEL = ServedModel("mine", "/folder")
GOOD = {"model": "mine", "messages": [message("user", "hello")]}
BODY = json.dumps(GOOD).encode()


def guard(inner=None, *, key="", host="127.0.0.1", **limits):
    return Guard(inner or Inner(), MODEL, ServeConfig(host, key=key, limits=Limits(**limits)))


def test_a_good_request_reaches_the_model_once():
    inner = Inner(pieces=(b'{"model":"/folder', b'@main","choices":[]}'))
    reply = call(guard(inner), body=BODY)
    assert (reply.status, json.loads(reply.body)) == (200, {"model": "mine", "choices": []})
    assert reply.headers["content-length"] == str(len(reply.body))
    (body,), (headers,) = inner.bodies, inner.headers
    assert body["model"] == "/folder"
    assert int(headers[b"content-length"]) == len(json.dumps(body))


def test_a_body_in_pieces_is_joined():
    inner = Inner()
    assert call(guard(inner), chunks=[BODY[:9], b"", BODY[9:]]).status == 200
    assert inner.bodies[0]["messages"][0]["content"] == [{"type": "text", "text": "hello"}]


def test_the_list_of_models_and_health():
    table = json.loads(call(guard(), "/v1/models", method="GET").body)
    assert [row["id"] for row in table["data"]] == ["mine"]
    assert call(guard(), "/health", method="GET").status == 200


@pytest.mark.parametrize("path", ["/", "/load_model", "/reset", "/v1/responses", "/v1/audio/transcriptions"])
def test_other_paths_do_not_exist(path):
    inner = Inner()
    reply = call(guard(inner), path, body=BODY)
    assert (reply.status, reply.error["code"], inner.bodies) == (404, "unknown_url", [])


def test_a_wrong_method_is_refused():
    assert call(guard(), method="GET").status == 405
    assert call(guard(), method="OPTIONS").status == 405


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "invalid_json"),
        (b"{broken", 400, "invalid_json"),
        (b"\xff\xfe", 400, "invalid_json"),
        (b"[" * 100_000, 400, "invalid_json"),
        (b"[]", 400, "invalid_value"),
        (json.dumps({**GOOD, "model": "other"}).encode(), 404, "model_not_found"),
        (json.dumps({**GOOD, "messages": []}).encode(), 400, "missing_field"),
    ],
)
def test_a_wrong_request_does_not_reach_the_model(body, status, code):
    inner = Inner()
    reply = call(guard(inner), body=body)
    assert (reply.status, reply.error["code"], inner.bodies) == (status, code, [])
    assert reply.headers["content-type"] == "application/json"


@pytest.mark.parametrize("headers", [{}, {"content-length": "999999999"}])
def test_a_large_request_is_refused(headers):
    reply = call(guard(max_body_bytes=100), body=b"x" * 101, headers=headers)
    assert (reply.status, reply.error["code"]) == (413, "request_too_large")
    assert reply.headers["connection"] == "close"


def test_a_large_request_of_unknown_length_is_not_read_to_its_end():
    read = []

    async def receive():
        read.append(1)
        return {"type": "http.request", "body": b"x" * 50, "more_body": True}

    sent = []

    async def send(event):
        sent.append(event)

    scope = {"type": "http", "path": "/v1/chat/completions", "method": "POST",
             "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")]}  # fmt: skip
    asyncio.run(guard(max_body_bytes=100)(scope, receive, send))
    assert (sent[0]["status"], len(read)) == (413, 3)


def test_a_slow_request_is_refused():
    async def receive():
        await asyncio.sleep(9)

    sent = []

    async def send(event):
        sent.append(event)

    scope = {"type": "http", "path": "/v1/chat/completions", "method": "POST",
             "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")]}  # fmt: skip
    asyncio.run(guard(read_seconds=0.01)(scope, receive, send))
    assert sent[0]["status"] == 408


def test_another_content_type_is_refused():
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        assert call(guard(), body=BODY, headers={"content-type": kind}).status == 415


@pytest.mark.parametrize("host", ["evil.example:8000", "192.0.2.1", "", "127.0.0.1.evil.example"])
def test_a_name_of_another_machine_is_refused_on_loopback(host):
    assert call(guard(), body=BODY, headers={"host": host}).error["code"] == "wrong_host"


@pytest.mark.parametrize("host", ["localhost:8000", "[::1]:8000", "127.0.0.1"])
def test_names_of_this_machine_pass(host):
    assert call(guard(), body=BODY, headers={"host": host}).status == 200


def test_the_key_is_checked_and_not_handed_on():
    inner = Inner()
    keyed = guard(inner, key="right", host="0.0.0.0")
    for value in ("", "Bearer wrong", "Basic right", "right", "Bearer "):
        headers = {"host": "other", "authorization": value}
        for path, method in (("/v1/chat/completions", "POST"), ("/v1/models", "GET")):
            reply = call(keyed, path, BODY, method=method, headers=headers)
            assert (reply.status, reply.error["code"]) == (401, "invalid_api_key")
    assert not inner.bodies
    assert call(keyed, body=BODY, headers={"host": "other", "authorization": "Bearer right"}).status == 200
    assert b"authorization" not in inner.headers[0]


def test_too_many_requests_wait_elsewhere():
    async def scenario():
        entered, leave = asyncio.Event(), asyncio.Event()

        async def slow(scope, receive, send):
            entered.set()
            await leave.wait()
            await Inner()(scope, receive, send)

        statuses = []

        async def one(application):
            events = [{"type": "http.request", "body": BODY, "more_body": False}]

            async def receive():
                return events.pop()

            async def send(event):
                statuses.append(event.get("status"))

            scope = {"type": "http", "path": "/v1/chat/completions", "method": "POST",
                     "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")]}  # fmt: skip
            await application(scope, receive, send)

        application = guard(slow, max_waiting=1)
        first = asyncio.create_task(one(application))
        await entered.wait()
        await one(application)
        leave.set()
        await first
        await one(application)
        return [status for status in statuses if status]

    assert asyncio.run(scenario()) == [429, 200, 200]


def test_an_error_of_the_model_server_has_the_format_of_the_protocol(caplog):
    reply = call(guard(Inner(422, (b'{"detail":"wrong"}',))), body=BODY)
    assert (reply.status, reply.error["message"]) == (422, "wrong")
    reply = call(guard(Inner(error=RuntimeError("secret /path"))), body=BODY)
    assert (reply.status, reply.error["type"]) == (500, "server_error")
    assert "secret" not in reply.error["message"]
    assert "secret /path" in caplog.text


def test_a_refusal_of_the_chat_template_is_the_clients_mistake():
    from jinja2.exceptions import TemplateError

    reply = call(guard(Inner(error=TemplateError("one user message"))), body=BODY)
    assert (reply.status, "one user message" in reply.error["message"]) == (400, True)


def test_a_failed_request_frees_its_place():
    application = guard(Inner(error=RuntimeError("x")), max_waiting=1)
    assert [call(application, body=BODY).status for _ in range(3)] == [500] * 3
