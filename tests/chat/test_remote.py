import base64
import io
import threading

import numpy as np
import pytest
import soundfile

from audio_lm.chat.conversation import ChatOptions
from audio_lm.chat.remote import RemoteConversation
from audio_lm.common.chat_endpoint import ChatEndpoint, EndpointConfig
from audio_lm.common.errors import UserError
from audio_lm.model.decoder.sampling import SamplingConfig
from tests.chat_server import ChatServer, Fault

pytest.importorskip("openai")


@pytest.fixture
def server():
    with ChatServer("it is a dog") as running:
        yield running


def open_conversation(server, **options):
    return RemoteConversation(ChatEndpoint(EndpointConfig(server.url, num_retries=0)), ChatOptions(**options))


def test_the_whole_conversation_is_sent_with_its_clips(server, make_wave, tmp_path):
    conversation = open_conversation(server, max_new_tokens=9)
    path = tmp_path / "a.flac"
    soundfile.write(path, make_wave(), 8_000)
    assert conversation.add_audio(path) == 1
    pieces = list(conversation.send("Which animal?"))
    assert pieces == ["it", " is", " a", " dog"]
    conversation.add_audio(make_wave(1), rate=16_000)
    list(conversation.send())
    list(conversation.send("And now?"))
    body = server.requests[-1]
    assert (body["max_tokens"], body["temperature"], body["model"]) == (9, 0.0, "tiny")
    assert [message["role"] for message in body["messages"]] == ["user", "assistant"] * 2 + ["user"]
    clip, text = body["messages"][0]["content"]
    assert text == {"type": "text", "text": "Which animal?"}
    wave, rate = soundfile.read(io.BytesIO(base64.b64decode(clip["input_audio"]["data"])))
    assert (rate, len(wave)) == (16_000, 16_000), "resampled from 8 kHz"
    assert body["messages"][1]["content"] == "it is a dog"
    assert [part["type"] for part in body["messages"][2]["content"]] == ["input_audio"]
    assert body["messages"][4]["content"] == "And now?"


def test_an_answer_is_stopped(server):
    server.answer, server.pause = "word " * 200, 0.01
    conversation = open_conversation(server)
    answer = conversation.send("one")
    text = next(answer)
    threading.Timer(0.05, conversation.stop).start()
    text += "".join(answer)
    assert conversation.turns[-1].text == text
    assert not conversation.turns[-1].is_complete
    assert len(text) < 600
    server.answer, server.pause = "next", 0.0
    assert list(conversation.send("two")) == ["next"]


def test_a_failed_turn_can_be_sent_again(server, make_wave):
    conversation = open_conversation(server)
    conversation.add_audio(make_wave())
    server.faults.append(Fault(500))
    with pytest.raises(UserError, match="HTTP 500"):
        list(conversation.send("one"))
    assert (conversation.turns, conversation.pending) == ([], (1,))
    assert "".join(conversation.send("one")) == "it is a dog"
    assert conversation.turns[0].audios == (1,)


def test_a_sampled_answer_is_generated_again_with_another_seed(server, tmp_path):
    conversation = open_conversation(server, sampling=SamplingConfig(0.7, top_p=0.9, seed=5), stop=("x",))
    list(conversation.send("one"))
    list(conversation.regenerate())
    assert [request["seed"] for request in server.requests] == [5, 6]
    assert (server.requests[0]["top_p"], server.requests[0]["stop"]) == (0.9, ["x"])
    assert [len(request["messages"]) for request in server.requests] == [1, 1]
    assert len(conversation.turns) == 2
    conversation.save(tmp_path / "saved")
    conversation.reset()
    assert (conversation.turns, conversation.audios) == ([], [])


def test_mistakes_are_one_sentence(server):
    with pytest.raises(UserError, match="top-k is no option"):
        open_conversation(server, sampling=SamplingConfig(1.0, top_k=5))
    conversation = open_conversation(server)
    with pytest.raises(UserError, match="message is empty"):
        conversation.send(" ")
    with pytest.raises(UserError, match="send a message first"):
        conversation.regenerate()
    with pytest.raises(UserError, match="is longer than the encoder"):
        conversation.add_audio(np.zeros(16_000 * 40, np.float32))
