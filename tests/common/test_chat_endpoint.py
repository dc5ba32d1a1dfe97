"""Client of chat endpoints, against a server on loopback."""

import json
import socket
import sys
import time

import pytest

from audio_lm.common.chat_endpoint import (
    KEY_VARIABLE,
    ChatEndpoint,
    EndpointConfig,
    EndpointError,
    Sampling,
)
from audio_lm.common.chat_parts import message, text_part
from audio_lm.common.errors import UserError
from tests.chat_server import ChatServer, Fault

QUESTION = [message("user", [text_part("how many?")])]


@pytest.fixture(autouse=True)
def _no_key_of_this_machine(monkeypatch):
    for name in (KEY_VARIABLE, "OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server():
    with ChatServer("two  digits") as running:
        yield running


def connect(server, **settings):
    return ChatEndpoint(EndpointConfig(server.url, **settings))


def failure(server, fault, *, num_retries=0, **settings):
    server.faults += [fault] * (num_retries + 1)
    with (
        connect(server, num_retries=num_retries, **settings) as endpoint,
        pytest.raises(EndpointError) as error,
    ):
        endpoint.answer(QUESTION)
    assert str(error.value).count(" -- ") == 2
    return error.value


def test_an_answer_comes_with_the_name_of_the_only_model(server):
    with connect(server) as endpoint:
        reply = endpoint.answer(QUESTION, Sampling(max_tokens=5, temperature=0.0, stop=("\n",)))
    assert reply == ("two  digits", "tiny", "stop")
    assert server.requests == [
        {"model": "tiny", "messages": QUESTION, "max_tokens": 5, "temperature": 0.0, "stop": ["\n"]}
    ]


def test_a_stream_arrives_piece_by_piece(server):
    server.answer, server.pause = "one two three", 0.05
    with connect(server) as endpoint:
        pieces = endpoint.stream(QUESTION)
        assert next(pieces) == "one"
        assert server.num_pieces_sent < 3, "the first piece waited for the last"
        assert [*pieces] == [" two", " three"]


def test_a_closed_stream_stops_the_server(server):
    server.answer, server.pause = " ".join(["word"] * 200), 0.01
    with connect(server) as endpoint:
        pieces = endpoint.stream(QUESTION)
        next(pieces)
        pieces.close()
        time.sleep(0.1)
        before = server.num_pieces_sent
        time.sleep(0.1)
    assert server.num_pieces_sent == before < 200


def test_a_busy_server_is_tried_again(server):
    server.faults += [Fault(503), Fault(429)]
    with connect(server, model="tiny") as endpoint:
        assert endpoint.answer(QUESTION).text == "two  digits"
    assert len(server.requests) == 3


def test_a_refused_connection_is_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = EndpointConfig(f"http://127.0.0.1:{port}", model="tiny", num_retries=0)
    with ChatEndpoint(config) as endpoint:
        for attempt in (endpoint.answer, lambda turns: [*endpoint.stream(turns)]):
            with pytest.raises(EndpointError, match=r"cannot be reached .*refused.*start it") as error:
                attempt(QUESTION)
            assert error.value.fault == "refused"


def test_a_silent_server_is_a_time_out(server):
    error = failure(server, Fault(seconds=0.5), timeout=0.1, model="tiny")
    assert (error.fault, "silent for 0.1 s" in str(error)) == ("timeout", True)


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (Fault(body="<html>hello</html>", content_type="text/html"), "format", "<html>hello</html>"),
        (Fault(body="{broken"), "format", "{broken"),
        (Fault(body="[]"), "format", "choices"),
        (Fault(body='{"choices": []}'), "format", "choices"),
        (Fault(body='{"choices": [{"message": "a"}]}'), "format", "choices"),
        (
            Fault(body='{"choices": [{"message": {"content": null}, "finish_reason": "length"}]}'),
            "empty",
            "'length'",
        ),
        (Fault(body='{"choices": [{"message": {"content": " "}}]}'), "empty", "empty answer"),
        (Fault(400, '{"error": {"message": "no such\\nformat"}}'), "status", "HTTP 400: no such format"),
        (Fault(401, '{"error": "key?"}'), "status", f"HTTP 401: key\\? .*{KEY_VARIABLE}"),
        (Fault(404, '{"detail": "gone"}'), "status", "HTTP 404: gone .*'tiny'"),
        (Fault(500, "oops", "text/plain"), "status", "HTTP 500: oops.*failed 1 times"),
        (Fault(307, "", headers={"Location": "http://192.0.2.1/v1"}), "status", "192.0.2.1/v1"),
        (Fault(413, "x" * 9_000, "text/plain"), "status", "HTTP 413: x{300}\\.\\.\\."),
    ],
)
def test_a_useless_response_is_one_sentence(server, fault, kind, words):
    error = failure(server, fault, model="tiny")
    assert error.fault == kind
    assert error.status == (fault.status if kind == "status" else 0)
    with pytest.raises(EndpointError, match=words):
        raise error


def test_a_stream_that_is_empty_broken_or_not_json_is_one_sentence(server):
    event_stream = {"content_type": "text/event-stream", "headers": {}}
    server.answer = ""
    server.faults += [
        Fault(500),
        Fault(body='data: {"error": {"message": "lost it"}}\n\n', **event_stream),
        Fault(body="data: {broken\n\n", **event_stream),
    ]
    with connect(server, model="tiny", num_retries=0) as endpoint:
        for fault, words in [
            ("status", "HTTP 500"),
            ("status", "lost it"),
            ("format", "broken"),
            ("empty", "empty"),
        ]:
            with pytest.raises(EndpointError, match=words) as error:
                [*endpoint.stream(QUESTION)]
            assert error.value.fault == fault


def test_the_key_is_sent_and_written_nowhere(server, monkeypatch, tmp_path, caplog, capfd):
    secret = "a-key-of-nothing-7"
    monkeypatch.setenv("MY_KEY", secret)
    cache = tmp_path / "answers.jsonl"
    with connect(server, key_variable="MY_KEY", cache=cache) as endpoint:
        endpoint.answer(QUESTION)
        server.faults.append(Fault(401, json.dumps({"error": {"message": f"wrong key {secret}"}})))
        with pytest.raises(EndpointError, match=r"wrong key \*\*\*") as error:
            endpoint.answer([message("user", "again")])
    assert server.headers[0]["authorization"] == f"Bearer {secret}"
    output = "".join(capfd.readouterr()) + caplog.text + str(error.value) + repr(endpoint.config)
    assert secret not in output + cache.read_text()


def test_no_key_and_no_account_of_another_host_is_sent(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "for-another-host")
    monkeypatch.setenv("OPENAI_ORG_ID", "mine")
    with connect(server) as endpoint:
        endpoint.answer(QUESTION)
    names = set(server.headers[0])
    assert not names & {"authorization", "openai-organization", "openai-project"}


def test_requests_to_this_machine_pass_no_proxy(server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with connect(server, num_retries=0) as endpoint:
        assert endpoint.answer(QUESTION).text == "two  digits"


def test_a_named_variable_without_a_key_is_an_error(server, monkeypatch):
    monkeypatch.setenv("MY_KEY", " ")
    with pytest.raises(UserError, match="MY_KEY is empty"):
        connect(server, key_variable="MY_KEY")


def test_an_answered_request_is_not_sent_again(server, tmp_path):
    cache = tmp_path / "answers.jsonl"
    for _ in range(2):
        with connect(server, model="tiny", cache=cache) as endpoint:
            assert endpoint.answer(QUESTION).text == "two  digits"
    assert len(server.requests) == 1
    with connect(server, model="tiny", cache=cache) as endpoint:
        endpoint.answer(QUESTION, Sampling(seed=1))
        endpoint.answer([*QUESTION, *QUESTION])
    assert len(server.requests) == 3


def test_a_failed_request_is_not_kept(server, tmp_path):
    server.faults.append(Fault(400))
    with connect(server, model="tiny", cache=tmp_path / "a.jsonl") as endpoint:
        with pytest.raises(EndpointError):
            endpoint.answer(QUESTION)
        assert endpoint.answer(QUESTION).text == "two  digits"


def test_parallel_answers_keep_the_order_of_the_questions(server, tmp_path):
    server.answer = lambda body: f"to {body['messages'][0]['content']}"
    turns = [[message("user", str(number))] for number in range(20)]
    with connect(server, cache=tmp_path / "a.jsonl") as endpoint:
        replies = [*endpoint.answer_all(turns, num_parallel=8)]
    assert [reply.text for reply in replies] == [f"to {number}" for number in range(20)]


def test_the_first_failure_ends_parallel_answers(server):
    server.faults.append(Fault(400))
    turns = [[message("user", str(number))] for number in range(200)]
    with (
        connect(server, num_retries=0) as endpoint,
        pytest.raises(EndpointError, match="HTTP 400"),
    ):
        [*endpoint.answer_all(turns, num_parallel=2)]
    assert len(server.requests) < 200


@pytest.mark.parametrize("models", [(), ("a", "b")])
def test_a_choice_of_models_needs_a_name(server, models):
    server.models = models
    with connect(server) as endpoint, pytest.raises(UserError, match=f"lists {len(models)} models"):
        endpoint.answer(QUESTION)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"url": "127.0.0.1:8000"}, "is no URL"),
        ({"url": "file:///etc/passwd"}, "is no URL"),
        ({"url": "http://me:hunter2@host/v1"}, "has a password"),
        ({"url": "http://host", "timeout": 0.0}, "above 0 s"),
        ({"url": "http://host", "num_retries": -1}, "0 or more"),
    ],
)
def test_a_wrong_setting_is_an_error(settings, words):
    with pytest.raises(UserError, match=words) as error:
        EndpointConfig(**settings)
    assert "hunter2" not in str(error.value)


def test_loopback_is_recognised():
    loopback = [
        EndpointConfig(f"http://{host}:1").is_loopback for host in ("127.0.0.1", "[::1]", "localhost")
    ]
    assert loopback == [True] * 3
    assert not EndpointConfig("http://10.0.0.1").is_loopback


def test_a_missing_library_is_one_sentence(server, monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(UserError, match=r"audio-lm\[api\]"):
        connect(server)
