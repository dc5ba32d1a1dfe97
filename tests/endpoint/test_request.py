"""Checks of requests."""

import json

import pytest

from audio_lm.common.chat_parts import message, text_part, wave_part
from audio_lm.endpoint.config import Limits
from audio_lm.endpoint.request import MARKUP, ServedModel, check_request
from audio_lm.endpoint.request_error import RequestError
from tests.endpoint.served_model import clip

MODEL = ServedModel("mine", "/folder", {"max_new_tokens": 256, "eos_token_id": [1]})
CLIP = wave_part(clip(0), 16_000)
TEXT = text_part("What?")
USER = message("user", [CLIP, TEXT])


def checked(body=None, *, limits=None, **fields):
    return check_request({"model": "mine", "messages": [USER]} | fields, MODEL, limits or Limits())


def refusal(**fields):
    with pytest.raises(RequestError) as error:
        checked(**fields)
    table = json.loads(error.value.body())["error"]
    assert table["message"]
    assert table["type"] == "invalid_request_error"
    return error.value


def test_a_request_becomes_one_for_the_model_in_the_folder():
    assert checked() == {"model": "/folder", "messages": [USER], "stream": False, "max_tokens": 256}


def test_a_conversation_of_all_roles_passes():
    turns = [
        message("developer", "Be short."),
        USER,
        message("assistant", "A bell."),
        message("user", [TEXT, CLIP]),
    ]
    roles = [turn["role"] for turn in checked(messages=turns)["messages"]]
    assert roles == ["system", "user", "assistant", "user"]


def test_a_data_url_becomes_input_audio():
    url = "data:audio/wav;base64," + CLIP["input_audio"]["data"]
    turn = message("user", [{"type": "audio_url", "audio_url": {"url": url}}])
    assert checked(messages=[turn])["messages"][0]["content"] == [CLIP]


def test_a_temperature_turns_sampling_on_and_zero_does_not():
    assert "generation_config" not in checked(temperature=0, top_p=1.0)
    for options in ({"temperature": 0.7}, {"top_p": 0.9}):
        table = json.loads(checked(**options)["generation_config"])
        assert table == {"max_new_tokens": 256, "eos_token_id": [1], "do_sample": True}


def test_the_newer_name_of_the_length_counts():
    assert checked(max_completion_tokens=5, max_tokens=7)["max_tokens"] == 5
    assert checked(max_tokens=7)["max_tokens"] == 7


def test_accounting_and_values_that_change_nothing_are_left_out():
    fields = {"user": "me", "stream_options": {"include_usage": True}, "n": 1, "tools": [], "logprobs": None}
    assert checked(**fields) == checked()


@pytest.mark.parametrize("model", ["other", "/folder", "/folder@main", "mine@main"])
def test_another_model_does_not_exist(model):
    error = refusal(model=model)
    assert (error.status, error.code) == (404, "model_not_found")


TEXT_ONLY = {"type": "text", "text": ""}


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        (None, "missing_field"),
        ([], "missing_field"),
        ("hello", "missing_field"),
        (["hello"], "invalid_value"),
        ([{"role": "user"}], "invalid_value"),
        ([message("user", "")], "empty_message"),
        ([message("user", "  \n")], "empty_message"),
        ([message("user", [])], "empty_message"),
        ([message("user", [TEXT_ONLY])], "empty_message"),
        ([USER, message("assistant", "")], "empty_message"),
        ([message("tool", "7")], "invalid_value"),
        ([{**message("assistant", "a"), "tool_calls": [{}]}, USER], "invalid_value"),
        ([USER, message("assistant", "A bell.")], "invalid_value"),
        ([USER, message("system", "Be short."), USER], "invalid_value"),
        ([message("assistant", [CLIP]), USER], "invalid_value"),
        ([message("user", [{"type": "image_url", "image_url": {"url": "data:,"}}])], "invalid_value"),
        ([message("user", [{"type": "text", "text": 7}])], "invalid_value"),
        ([message("user", [{"type": "input_audio"}])], "invalid_value"),
        ([message("user", ["hello"])], "invalid_value"),
        ([message("user", [{"type": ["text"], "text": "a"}])], "invalid_value"),
        ([message("user", [{"type": "input_audio", "input_audio": {"data": "/etc/passwd"}}])], "invalid_base64"),
        ([message("user", [{"type": "audio_url", "audio_url": {"url": "/etc/passwd"}}])], "invalid_audio"),
        ([message("user", [{"type": "audio_url", "audio_url": {"url": "http://192.0.2.1/"}}])], "invalid_audio"),
        ([message("user", [CLIP] * 10)], "too_many_clips"),
        ([message("user", [CLIP] * 5), message("user", [CLIP] * 5)], "too_many_clips"),
        ([message("user", "a" * 20_001)], "context_length_exceeded"),
    ],
)  # fmt: skip
def test_a_conversation_that_cannot_be_answered_is_refused(messages, code):
    error = refusal(messages=messages)
    assert (error.status, error.code) == (400, code)


@pytest.mark.parametrize("token", MARKUP)
def test_markup_in_a_text_is_refused(token):
    assert token in str(refusal(messages=[message("user", f"a {token} b")]))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_tokens", 0),
        ("max_tokens", 1_025),
        ("max_tokens", 2.5),
        ("max_tokens", "5"),
        ("max_tokens", True),
        ("temperature", -1),
        ("temperature", 2.1),
        ("temperature", float("nan")),
        ("temperature", "hot"),
        ("top_p", 0),
        ("top_p", 1.5),
        ("seed", 1.5),
        ("seed", 2**70),
        ("stream", "yes"),
    ],
)
def test_an_option_out_of_range_is_refused(field, value):
    assert refusal(**{field: value}).param == field


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 2},
        {"logprobs": True},
        {"tools": [{}]},
        {"stop": ["\n"]},
        {"frequency_penalty": 0.5},
        {"response_format": {"type": "json_object"}},
        {"modalities": ["audio"]},
        {"chat_template_kwargs": {"load_audio_backend": "x"}},
        {"generation_config": "{}"},
        {"anything": 1},
    ],
)
def test_a_field_that_would_be_ignored_is_refused(fields):
    assert refusal(**fields).code == "unsupported_parameter"


@pytest.mark.parametrize("body", [None, [], "text", 7])
def test_a_request_is_an_object(body):
    with pytest.raises(RequestError, match="no JSON object"):
        check_request(body, MODEL, Limits())
