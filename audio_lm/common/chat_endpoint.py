"""Client of any OpenAI-compatible chat endpoint: one conversation in, one answer out.

Used by every command that queries a model behind a URL. The library `openai` (extra `api`) sends the requests and
repeats those that fail for a while; its errors become one sentence each. The key comes from an environment variable
and is never written: not to the cache, not to a message. Messages are those of the protocol; `chat_parts` builds them.
"""

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from audio_lm.common.answer_cache import AnswerCache, Reply, request_hash
from audio_lm.common.errors import UserError, missing_extra
from audio_lm.common.secrets import MASK, mask_secrets

if TYPE_CHECKING:
    import openai

KEY_VARIABLE = "AUDIO_LM_API_KEY"
MAX_CONNECT_SECONDS = 10.0
MAX_DETAIL = 300  # characters of a server's own message that are shown
CHAT_PATH = "/chat/completions"

log = logging.getLogger(__name__)
Message = Mapping[str, Any]
Fault = Literal["refused", "timeout", "status", "format", "empty"]


class EndpointError(UserError):
    """Endpoint without a usable answer.

    Attributes:
        fault: kind of the failure; `empty` concerns one conversation, the others the server.
        status: HTTP status, 0 without one.
    """

    def __init__(self, message: str, fault: Fault, status: int = 0) -> None:
        super().__init__(message)
        self.fault, self.status = fault, status


@dataclass(frozen=True)
class EndpointConfig:
    """Address and manners of an endpoint."""

    url: str
    """Such as http://127.0.0.1:8000/v1; `/v1` is added to an address without a path."""

    model: str = ""
    """Name of the model; empty takes the only one that the server lists."""

    key_variable: str = KEY_VARIABLE
    """Environment variable with the key. The default may be unset; another one must exist."""

    timeout: float = 120.0
    """Seconds without any byte from the server after which a request has failed."""

    num_retries: int = 3
    """Repetitions after a refused connection, a time-out, or HTTP 408, 409, 429 and 5xx, with growing pauses."""

    cache: Path | None = None
    """JSONL file that keeps the answers; a repeated request is not sent again."""

    def __post_init__(self) -> None:
        """Reject what cannot be an endpoint."""
        address = urlsplit(self.url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise UserError(
                f"{mask_secrets(self.url)!r} is no URL of an endpoint -- expected http://HOST:PORT/v1 or https -- correct it"
            )
        if address.username is not None or address.password is not None:
            raise UserError(
                f"the URL of {address.hostname} has a password in it -- expected a key in an environment variable -- "
                f"leave it out and export {self.key_variable}"
            )
        if self.timeout <= 0 or self.num_retries < 0:
            raise UserError(
                f"time-out {self.timeout:g} s, {self.num_retries} retries -- expected above 0 s, 0 or more retries -- change it"
            )

    @property
    def base_url(self) -> str:
        """Address of the protocol, under which its paths lie.

        >>> EndpointConfig("http://127.0.0.1:8000").base_url, EndpointConfig("https://a/b/chat/completions").base_url
        ('http://127.0.0.1:8000/v1', 'https://a/b')
        """
        url = self.url.rstrip("/").removesuffix(CHAT_PATH)
        return url if urlsplit(url).path else f"{url}/v1"

    @property
    def is_loopback(self) -> bool:
        """True if the server runs on this machine."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


@dataclass(frozen=True)
class Sampling:
    """Options of an answer; None leaves one to the server."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()

    def as_request(self) -> dict[str, Any]:
        """Fields of a request."""
        fields = {name: value for name, value in vars(self).items() if value is not None and name != "stop"}
        return {**fields, **({"stop": list(self.stop)} if self.stop else {})}


class ChatEndpoint:
    """Connection to an endpoint; a context manager, usable by several threads."""

    def __init__(self, config: EndpointConfig) -> None:
        self.config = config
        self._key = _key_of(config)
        self._client = _open_client(config, self._key)
        self._cache = AnswerCache(config.cache) if config.cache is not None else None
        self._headers = _headers(self._key)
        self._model = config.model

    def __enter__(self) -> "ChatEndpoint":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection and the cache."""
        self._client.close()
        if self._cache is not None:
            self._cache.close()

    @property
    def model(self) -> str:
        """Name of the model; the first use without a configured name queries the server.

        Raises:
            EndpointError: the server does not respond.
            UserError: it lists no model or several.
        """
        if not self._model:
            names = self.list_models()
            if len(names) != 1:
                remedy = f"name one of them: {', '.join(sorted(names))}" if names else "name the model"
                raise UserError(
                    f"{self.config.base_url} lists {len(names)} models -- expected one, or a name -- {remedy}"
                )
            (self._model,) = names
        return self._model

    def list_models(self) -> list[str]:
        """Names of the models that the server lists."""
        with self._reported():
            table = json.loads(
                self._client.models.with_raw_response.list(extra_headers=self._headers).http_response.text
            )
        names = table.get("data") if isinstance(table, dict) else None
        if not isinstance(names, list) or not all(isinstance(row, dict) and "id" in row for row in names):
            raise self._unreadable("a list of models", json.dumps(table))
        return [str(row["id"]) for row in names]

    def answer(self, messages: Sequence[Message], sampling: Sampling | None = None) -> Reply:
        """Answer of the model to a conversation, from the cache if the same request was answered before.

        A cached answer is returned for a sampled one too: vary the seed for another.

        Raises:
            EndpointError: no usable answer; see its ``fault``.
        """
        body = self._request(messages, sampling)
        key = request_hash(self.config.base_url, body)
        if self._cache is not None and (kept := self._cache.get(key)) is not None:
            return kept
        with self._reported():
            response = self._client.chat.completions.with_raw_response.create(
                **body, extra_headers=self._headers
            )
            text = response.http_response.text
            reply = self._reply(json.loads(text), text)
        if self._cache is not None:
            self._cache.put(key, reply)
        return reply

    def answer_all(
        self,
        conversations: Sequence[Sequence[Message]],
        sampling: Sampling | None = None,
        *,
        num_parallel: int = 4,
    ) -> Iterator[Reply]:
        """Yield the answers in the order of the conversations; several requests are under way at a time.

        The first failure ends it; answers so far are in the cache.
        """
        if not self._model:
            self._model = self.model
        pool = ThreadPoolExecutor(num_parallel, thread_name_prefix="endpoint")
        try:
            waiting = [pool.submit(self.answer, messages, sampling) for messages in conversations]
            for one in waiting:
                yield one.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def stream(self, messages: Sequence[Message], sampling: Sampling | None = None) -> Iterator[str]:
        """Yield the answer in pieces as they arrive; the cache is neither read nor written.

        Closing the iterator stops the request.
        """
        is_empty = True
        with self._reported():
            events = self._client.chat.completions.create(
                **self._request(messages, sampling), stream=True, extra_headers=self._headers
            )
            with events:
                for event in events:
                    piece = event.choices[0].delta.content if event.choices else None
                    if piece:
                        is_empty = False
                        yield piece
        if is_empty:
            raise self._empty("")

    def _request(self, messages: Sequence[Message], sampling: Sampling | None) -> dict[str, Any]:
        return {
            "model": self.model,
            "messages": [dict(message) for message in messages],
            **(sampling or Sampling()).as_request(),
        }

    def _reply(self, table: Any, text: str) -> Reply:
        try:
            choice = table["choices"][0]
            content, reason = choice["message"].get("content"), choice.get("finish_reason")
        except (KeyError, IndexError, TypeError, AttributeError):
            raise self._unreadable("an answer with choices[0].message", text) from None
        if not isinstance(content, str) or not content.strip():
            raise self._empty(reason or "")
        return Reply(content, str(table.get("model") or self.model), str(reason or ""))

    def _empty(self, reason: str) -> EndpointError:
        why = f" (finish_reason {reason!r})" if reason else ""
        return EndpointError(
            f"model {self._model!r} at {self.config.base_url} gave an empty answer{why} -- expected text -- "
            f"try the request again, or allow more tokens if it was cut",
            "empty",
        )

    def _unreadable(self, expected: str, text: str) -> EndpointError:
        return EndpointError(
            f"{self.config.base_url} responded with {self._clean(text)!r} -- expected {expected} in JSON -- "
            f"check that the URL is that of an OpenAI-compatible endpoint, with its /v1",
            "format",
        )

    def _clean(self, text: str) -> str:
        """Server's message on one line, short and without the key."""
        line = " ".join(text.split())
        line = mask_secrets(line.replace(self._key, MASK) if self._key else line)
        return line if len(line) <= MAX_DETAIL else f"{line[:MAX_DETAIL]}..."

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Turn the errors of the library into sentences for the user."""
        import openai

        try:
            yield
        except openai.APITimeoutError:
            raise EndpointError(
                f"{self.config.base_url} was silent for {self.config.timeout:g} s -- expected an answer by then -- "
                f"check the server's load, or allow more with a longer time-out",
                "timeout",
            ) from None
        except openai.APIConnectionError as error:
            raise EndpointError(
                f"{self.config.base_url} cannot be reached ({self._clean(_cause(error))}) -- expected a server there -- "
                f"start it, or correct the URL",
                "refused",
            ) from None
        except openai.APIStatusError as error:
            raise self._status_error(error) from None
        except openai.APIError as error:  # an error in the middle of a stream
            raise EndpointError(
                f"{self.config.base_url} broke off its answer: {self._clean(error.message)} -- expected a complete one -- "
                f"see the server's log",
                "status",
            ) from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise self._unreadable("an answer", getattr(error, "doc", "") or "bytes") from None

    def _status_error(self, error: "openai.APIStatusError") -> EndpointError:
        detail = self._clean(_message_of(error.body) or error.message)
        return EndpointError(
            f"{self.config.base_url} refused the request with HTTP {error.status_code}: {detail} -- expected an answer -- "
            f"{_remedy(error.status_code, self.config, error.response.headers.get('location', ''))}",
            "status",
            error.status_code,
        )


def _key_of(config: EndpointConfig) -> str:
    key = os.environ.get(config.key_variable, "").strip()
    if not key and config.key_variable != KEY_VARIABLE:
        raise UserError(
            f"the environment variable {config.key_variable} is empty -- expected the key of {config.base_url} -- export it"
        )
    if key and config.base_url.startswith("http:") and not config.is_loopback:
        log.warning("the key in %s is sent unencrypted to %s", config.key_variable, config.base_url)
    return key


def _open_client(config: EndpointConfig, key: str) -> "openai.OpenAI":
    try:
        import openai
    except ModuleNotFoundError:
        raise missing_extra("openai", extra="api", purpose="a chat endpoint") from None
    omitted: Any = openai.Omit()
    seconds = openai.Timeout(config.timeout, connect=min(config.timeout, MAX_CONNECT_SECONDS))
    return openai.OpenAI(
        api_key=key or "none",
        base_url=config.base_url,
        max_retries=config.num_retries,
        # The library would add these of the environment to requests to any host.
        default_headers={"OpenAI-Organization": omitted, "OpenAI-Project": omitted},
        # A proxy of the environment must not see requests to this machine; a redirect could send audio and key to
        # another host.
        http_client=openai.DefaultHttpxClient(
            trust_env=not config.is_loopback,
            follow_redirects=False,
            timeout=seconds,
        ),
        timeout=seconds,
    )


def _headers(key: str) -> dict[str, Any]:
    """Headers of a request; the library insists on a key unless its header is left out of each."""
    import openai

    return {} if key else {"Authorization": openai.Omit()}


def _cause(error: BaseException) -> str:
    """Message of the innermost cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__


def _message_of(body: object) -> str:
    """Server's own sentence in the body of an error."""
    if isinstance(body, dict):
        inner = body.get("error", body)
        message = inner.get("message") or inner.get("detail") if isinstance(inner, dict) else inner
        return str(message or json.dumps(body))
    return str(body or "")


def _remedy(status: int, config: EndpointConfig, location: str) -> str:
    if status in (401, 403):
        return f"export the server's key as {config.key_variable}"
    if status == 404:
        return f"check the URL and the name of the model, {config.model!r}"
    if 300 <= status < 400:
        return f"give the URL that it redirects to, {location!r}"
    if status == 429 or status >= 500:
        return f"it failed {config.num_retries + 1} times; wait, or see the server's log"
    return "correct the request"
