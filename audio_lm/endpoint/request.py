"""Check of a chat request, and its translation into what `transformers serve` understands as meant.

A field that the server would ignore is refused, because a setting without effect is an error. Sampling is turned on
where a request has a temperature: the exported folder decodes greedily, and a temperature alone would change nothing.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from audio_lm.endpoint.clip import check_clip
from audio_lm.endpoint.config import Limits
from audio_lm.endpoint.request_error import RequestError
from audio_lm.prompts.chatml import TURN_END, TURN_START
from audio_lm.prompts.conversation import CLIP_TOKEN
from audio_lm.prompts.natural import CLIP_END, CLIP_START
from audio_lm.prompts.tags import AUDIO_END, AUDIO_START

MARKUP = (TURN_START, TURN_END, CLIP_START, CLIP_END, CLIP_TOKEN, AUDIO_START, AUDIO_END)
"""Tokens that the chat template writes; in a text they would end a turn or announce a clip that is not there."""

HARMLESS = {
    "metadata",
    "service_tier",
    "store",
    "stream_options",
    "user",
    "safety_identifier",
    "prompt_cache_key",
}
"""Fields about accounting, which are left out."""

NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "frequency_penalty": (0, 0.0),
    "presence_penalty": (0, 0.0),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "tools": ([],),
    "tool_choice": ("none",),
    "stop": ([],),
}
"""Fields that are accepted with values that change nothing."""

ROLES = ("system", "user", "assistant")
MAX_SEED = 2**63 - 1


@dataclass(frozen=True)
class ServedModel:
    """Model behind the endpoint."""

    name: str
    """In requests."""

    path: str
    """Its folder, under which `transformers serve` has it."""

    generation: Mapping[str, Any] = field(default_factory=dict)
    """Content of its ``generation_config.json``."""

    @property
    def max_new_tokens(self) -> int:
        """Length of an answer where a request names none."""
        return int(self.generation.get("max_new_tokens") or 256)


def check_request(body: Any, model: ServedModel, limits: Limits) -> dict[str, Any]:
    """Check a request and translate it.

    Args:
        body: parsed JSON.

    Raises:
        RequestError: it cannot be answered as meant; names the field.
    """
    if not isinstance(body, dict):
        raise RequestError("the request is no JSON object; expected one with model and messages")
    fields = {key: value for key, value in body.items() if value is not None and key not in HARMLESS}
    _check_model(fields.pop("model", None), model)
    messages = _check_messages(fields.pop("messages", None), limits)
    stream = fields.pop("stream", False)
    if not isinstance(stream, bool):
        raise RequestError("stream is neither true nor false", param="stream")
    options = _options(fields, model, limits)
    _check_neutral(fields)
    return {"model": model.path, "messages": messages, "stream": stream, **options}


def _check_model(name: Any, model: ServedModel) -> None:
    if not isinstance(name, str) or not name:
        raise RequestError(f"model is missing; expected {model.name!r}", param="model", code="missing_field")
    if name != model.name:
        raise RequestError(
            f"the model {name!r} does not exist; this endpoint serves {model.name!r}",
            status=404,
            code="model_not_found",
            param="model",
        )


def _check_messages(messages: Any, limits: Limits) -> list[dict[str, Any]]:
    if not isinstance(messages, list) or not messages:
        raise RequestError(
            "messages is no list with at least one message", param="messages", code="missing_field"
        )
    checked = [_check_message(one, number, limits) for number, one in enumerate(messages)]
    if checked[-1]["role"] != "user":
        raise RequestError(
            f"the last message is of {checked[-1]['role']!r}; expected 'user'", param="messages"
        )
    if any(one["role"] == "system" for one in checked[1:]):
        raise RequestError("a system message stands behind others; expected it first", param="messages")
    parts = [part for one in checked for part in one["content"]]
    num_clips = sum(part["type"] == "input_audio" for part in parts)
    if num_clips > limits.max_clips:
        raise RequestError(
            f"the conversation has {num_clips} clips; this endpoint takes {limits.max_clips}",
            param="messages",
            code="too_many_clips",
        )
    num_letters = sum(len(part.get("text", "")) for part in parts)
    if num_letters > limits.max_text:
        raise RequestError(
            f"the conversation has {num_letters} characters; this endpoint takes {limits.max_text}",
            param="messages",
            code="context_length_exceeded",
        )
    return checked


def _check_message(message: Any, number: int, limits: Limits) -> dict[str, Any]:
    where = f"messages[{number}]"
    if not isinstance(message, dict):
        raise RequestError(f"{where} is no object with role and content", param=where)
    role = "system" if message.get("role") == "developer" else message.get("role")
    if role not in ROLES or message.get("tool_calls"):
        raise RequestError(
            f"{where} has the role {role!r}; expected one of {', '.join(ROLES)}, without tool calls",
            param=f"{where}.role",
        )
    content = message.get("content")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not isinstance(parts, list):
        raise RequestError(f"{where}.content is neither text nor a list of parts", param=f"{where}.content")
    # Counted before any is decoded.
    if sum(isinstance(part, dict) and part.get("type") != "text" for part in parts) > limits.max_clips:
        raise RequestError(
            f"{where} has more clips than the {limits.max_clips} that this endpoint takes",
            param=where,
            code="too_many_clips",
        )
    checked = [_check_part(part, f"{where}.content[{place}]", limits) for place, part in enumerate(parts)]
    if role != "user" and any(part["type"] != "text" for part in checked):
        raise RequestError(f"{where} is of {role!r} and has a clip; expected text", param=where)
    if not any(part["type"] != "text" or part["text"].strip() for part in checked):
        raise RequestError(f"{where} is empty; expected text or a clip", param=where, code="empty_message")
    return {"role": role, "content": checked}


def _check_part(part: Any, where: str, limits: Limits) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, dict) else None
    inner = part.get(kind) if isinstance(kind, str) else None
    if kind == "text" and isinstance(inner, str):
        if found := [token for token in MARKUP if token in inner]:
            raise RequestError(
                f"{where} contains {found[0]}, which only the server writes; leave it out", param=where
            )
        return {"type": "text", "text": inner}
    if kind == "input_audio" and isinstance(inner, dict):
        return check_clip(inner.get("data"), limits, where=f"{where}.input_audio.data")
    if kind == "audio_url" and isinstance(inner, dict):
        url = inner.get("url")
        if not isinstance(url, str) or not url.startswith("data:"):
            raise RequestError(
                f"{where}.audio_url.url is no data URL; addresses and paths are not read",
                param=where,
                code="invalid_audio",
            )
        return check_clip(url, limits, where=f"{where}.audio_url.url")
    raise RequestError(
        f"{where} has the type {kind!r}, or lacks its content; expected text, input_audio or audio_url with a data URL",
        param=where,
    )


def _options(fields: dict[str, Any], model: ServedModel, limits: Limits) -> dict[str, Any]:
    """Take the options of decoding out of the fields."""
    first, second = fields.pop("max_completion_tokens", None), fields.pop("max_tokens", None)
    wanted = model.max_new_tokens if first is second is None else second if first is None else first
    options: dict[str, Any] = {
        "max_tokens": int(_number("max_tokens", wanted, 1, limits.max_new_tokens, int))
    }
    temperature = fields.pop("temperature", None)
    top_p = fields.pop("top_p", None)
    if temperature is not None:
        options["temperature"] = _number("temperature", temperature, 0, 2)
    if top_p is not None:
        options["top_p"] = _number("top_p", top_p, 1e-6, 1)
    if (seed := fields.pop("seed", None)) is not None:
        options["seed"] = _number("seed", seed, -MAX_SEED, MAX_SEED, int)
    if options.get("temperature", 0 if top_p is None else 1) > 0:
        options["generation_config"] = json.dumps({**model.generation, "do_sample": True})
    return options


def _number(
    name: str, value: Any, least: float, most: float, kind: type[int] | type[float] = float
) -> int | float:
    is_number = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not least <= value <= most:
        what = "a whole number" if kind is int else "a number"
        raise RequestError(
            f"{name} is {str(value)[:40]!r}; expected {what} from {least:g} to {most:g}", param=name
        )
    return value  # type: ignore[no-any-return]


def _check_neutral(fields: Mapping[str, Any]) -> None:
    """Check that no other field has an effect; `stop` fails in transformers 5.23, which hands it the processor."""
    wrong = sorted(
        key for key, value in fields.items() if not any(value == neutral for neutral in NEUTRAL.get(key, ()))
    )
    if wrong:
        raise RequestError(
            f"{', '.join(wrong)[:200]}: not supported by this endpoint; leave it out",
            param=wrong[0][:80],
            code="unsupported_parameter",
        )
