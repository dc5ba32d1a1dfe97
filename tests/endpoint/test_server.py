"""A tiny model behind the endpoint, queried by the client of OpenAI."""

import base64
import json
import socket
import threading
import time

import openai
import pytest
import uvicorn

from audio_lm.common.chat_endpoint import ChatEndpoint, EndpointConfig, Sampling
from audio_lm.common.chat_parts import audio_part, message, wave_part
from audio_lm.common.errors import UserError
from audio_lm.endpoint import server
from audio_lm.endpoint.config import Limits, ServeConfig
from audio_lm.endpoint.folder import find_model
from audio_lm.endpoint.guard import Guard
from tests.endpoint.asgi import call
from tests.endpoint.served_model import NUM_TOKENS, QUESTION, GreedyModel, clip, decoded, encoded, write_model

NUM_CLIPS = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("served") / "mine")


@pytest.fixture(scope="module")
def greedy(folder):
    return GreedyModel(folder)


@pytest.fixture(scope="module")
def url(folder):
    """Address of a running endpoint."""
    model = find_model(folder)
    config = ServeConfig(port=0, limits=Limits(max_body_bytes=4 << 20))
    with server.listen(config) as listener:
        application = Guard(server.load_application(model), model, config)
        running = uvicorn.Server(uvicorn.Config(application, log_level="error"))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        running.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def client(url):
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as connected:
        yield connected


def query(client, *parts, **options):
    return client.chat.completions.create(
        model="mine", messages=[message("user", [*parts, QUESTION])], max_tokens=NUM_TOKENS, **options
    )


def text_of(reply):
    return reply.choices[0].message.content


def test_every_clip_gets_the_models_greedy_answer(client, greedy):
    answers = [text_of(query(client, wave_part(clip(number), 16_000))) for number in range(NUM_CLIPS)]
    assert answers == [greedy.answer(decoded(encoded(number, "WAV"))) for number in range(NUM_CLIPS)]
    assert len(set(answers)) > NUM_CLIPS / 2, "the control: answers depend on the clip"


def test_an_mp3_gets_the_answer_of_its_decoded_audio(client, greedy):
    content = encoded(1, "MP3")
    assert text_of(query(client, audio_part(content))) == greedy.answer(decoded(content))


def test_a_data_url_is_the_same_as_input_audio(client):
    data = base64.b64encode(encoded(4, "WAV")).decode()
    part = {"type": "audio_url", "audio_url": {"url": f"data:audio/wav;base64,{data}"}}
    assert text_of(query(client, part)) == text_of(query(client, wave_part(clip(4), 16_000)))


def test_several_clips_are_answered_in_their_order(client, greedy):
    waves = [decoded(encoded(number, "WAV")) for number in (0, 4, 6)]
    for order in (waves, waves[::-1]):
        parts = [wave_part(wave, 16_000) for wave in order]
        assert text_of(query(client, *parts)) == greedy.answer(*order)


def test_a_stream_is_the_answer_in_pieces(client):
    part = wave_part(clip(6), 16_000)
    events = [*query(client, part, stream=True)]
    pieces = [event.choices[0].delta.content or "" for event in events]
    assert "".join(pieces) == text_of(query(client, part))
    assert sum(map(bool, pieces)) > 2
    assert events[-1].choices[0].finish_reason == "length"
    assert {event.model for event in events} == {"mine"}


def test_a_stream_that_is_left_does_not_block_the_next_request(client):
    part = wave_part(clip(6), 16_000)
    left = client.chat.completions.create(
        model="mine", messages=[message("user", [part])], max_tokens=1000, stream=True
    )
    next(iter(left))
    left.close()
    start = time.monotonic()
    assert text_of(query(client, part))
    assert time.monotonic() - start < 5


def test_sampling_depends_on_the_seed(client):
    part = wave_part(clip(1), 16_000)
    answers = [text_of(query(client, part, temperature=1.5, seed=seed)) for seed in (1, 2, 3, 1)]
    assert answers[0] == answers[3]
    assert len(set(answers)) > 1


def test_our_own_client_finds_the_model(url):
    with ChatEndpoint(EndpointConfig(url)) as endpoint:
        turns = [message("user", [wave_part(clip(1), 16_000), QUESTION])]
        reply = endpoint.answer(turns, Sampling(max_tokens=NUM_TOKENS))
        assert reply.text == "".join(endpoint.stream(turns, Sampling(max_tokens=NUM_TOKENS)))
    assert (reply.model, reply.finish_reason) == ("mine", "length")


def text_file():
    return {
        "type": "input_audio",
        "input_audio": {"data": base64.b64encode(b"hello").decode(), "format": "wav"},
    }


def broken_base64():
    return {"type": "input_audio", "input_audio": {"data": "%%%", "format": "wav"}}


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"model": "other"}, 404, "model_not_found"),
        ({"messages": []}, 400, "missing_field"),
        ({"messages": [message("user", "")]}, 400, "empty_message"),
        ({"messages": [message("user", [wave_part(clip(0), 16_000)] * 10)]}, 400, "too_many_clips"),
        ({"messages": [message("user", [text_file()])]}, 400, "invalid_audio"),
        ({"messages": [message("user", [broken_base64()])]}, 400, "invalid_base64"),
        ({"messages": [message("user", "a" * (5 << 20))]}, 413, "request_too_large"),
    ],
)
def test_a_wrong_request_is_refused_and_the_server_lives(client, options, status, code):
    with pytest.raises(openai.APIStatusError) as error:
        client.chat.completions.create(**{"model": "mine", "messages": [message("user", "hi")]} | options)
    assert (error.value.status_code, error.value.code) == (status, code)
    assert error.value.type == "invalid_request_error"
    assert text_of(query(client, wave_part(clip(0), 16_000)))


def test_a_model_of_single_questions_refuses_a_conversation(tmp_path):
    model = find_model(write_model(tmp_path / "natural", prompt="natural"))
    application = Guard(server.load_application(model), model, ServeConfig())
    turns = [message("user", "a"), message("assistant", "b"), message("user", "c")]
    reply = call(application, body=json.dumps({"model": "natural", "messages": turns}).encode())
    assert (reply.status, "one user message" in reply.error["message"]) == (400, True)


def test_the_address_is_checked(monkeypatch):
    with server.listen(ServeConfig(port=0)) as taken:
        assert taken.getsockname()[0] == "127.0.0.1"
        with pytest.raises(UserError, match=r"cannot be opened .*in use"):
            server.listen(ServeConfig(port=taken.getsockname()[1]))
    with pytest.raises(UserError, match="cannot be opened"):
        server.listen(ServeConfig("192.0.2.1", 0, key="k"))


def test_missing_and_old_packages_are_one_sentence(monkeypatch):
    server.check_packages()
    monkeypatch.setattr(server, "version", lambda name: "5.22.1")
    with pytest.raises(UserError, match=r"transformers 5\.22\.1 -- expected 5\.23 or later"):
        server.check_packages()
    monkeypatch.setattr(server, "PACKAGES", ("no_such_package",))
    with pytest.raises(UserError, match=r"audio-lm\[api\]"):
        server.check_packages()


def test_clients_may_connect_before_the_server_runs():
    with server.listen(ServeConfig(port=0)) as listener, socket.create_connection(listener.getsockname()):
        pass
