"""Chat page of the command `serve`."""

import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from audio_lm.cli.library_messages import silence_libraries
from audio_lm.cli.options import paused_gc
from audio_lm.common.errors import UserError

if TYPE_CHECKING:
    from audio_lm.chat.conversation import ChatOptions
    from audio_lm.web.server import Address
    from audio_lm.web.sessions import WordFinder

PASSWORD_VARIABLE = "AUDIO_LM_PASSWORD"
HOST, PORT = "127.0.0.1", 7860
LONG_AUDIO: tuple[Literal["error", "truncate", "chunk"], ...] = ("error", "truncate", "chunk")


@dataclass(frozen=True)
class ServeOptions:
    """Options of the command, as they were given."""

    model: str
    stage: str | None = None
    host: str | None = None
    port: int | None = None
    trusts_code: bool = False
    password_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    max_upload: float = 25.0
    max_seconds: float = 120.0
    max_sessions: int = 32
    concurrency: int = 1
    long_audio: str | None = None
    temperature: float = 0.0
    max_new_tokens: int = 256


SHARED = {"model", "stage", "host", "port", "trusts_code"}
"""Options that an endpoint has too."""


def check_no_page_options(given: ServeOptions) -> None:
    """Refuse options of the page for an endpoint.

    Raises:
        UserError: names the first of them.
    """
    for option in fields(given):
        if option.name not in SHARED and getattr(given, option.name) != option.default:
            raise UserError(
                f"--{option.name.replace('_', '-')} is an option of the page -- expected none with --api -- leave it out"
            )


def serve_page(given: ServeOptions) -> None:
    """Load a model and serve its page until Ctrl-C.

    Raises:
        UserError: an option, the model or the port cannot be used; the model is loaded last.
    """
    silence_libraries()
    address, options = _address(given), _chat_options(given)
    with paused_gc():
        from audio_lm.chat.session import ChatSession, open_chat_model
        from audio_lm.web.limits import Limits
        from audio_lm.web.prompts import example_prompts
        from audio_lm.web.server import Site, bind, check_packages, serve

        limits = Limits(
            upload_mib=given.max_upload,
            seconds=given.max_seconds,
            num_answers=given.concurrency,
            num_sessions=given.max_sessions,
        )
        check_packages()
        opened = bind(address)
        loaded = open_chat_model(given.model, stage=given.stage, trusts_code=given.trusts_code)
        limits = replace(limits, long_audio=options.long_audio or loaded.long_audio)
        prompts = example_prompts(loaded, given.model, trusts_code=given.trusts_code)
        site = Site(loaded.source, options, prompts, _word_finder(given))
    typer.echo(f"{address.url(opened.getsockname()[1])}   (Ctrl-C ends it)")
    serve(lambda: ChatSession(loaded, options), site, opened, address, limits)


def _address(given: ServeOptions) -> "Address":
    from audio_lm.web.server import Address

    return Address(
        HOST if given.host is None else given.host,
        PORT if given.port is None else given.port,
        read_password(given.password_file),
        given.certificate,
        given.key,
    )


def _chat_options(given: ServeOptions) -> "ChatOptions":
    from audio_lm.chat.conversation import ChatOptions
    from audio_lm.model.decoder.sampling import SamplingConfig

    if given.long_audio not in (None, *LONG_AUDIO):
        raise UserError(f"--long-audio {given.long_audio} -- expected {', '.join(LONG_AUDIO)}; choose one")
    rule = next((known for known in LONG_AUDIO if known == given.long_audio), None)
    return ChatOptions(given.max_new_tokens, SamplingConfig(given.temperature), long_audio=rule)


def _word_finder(given: ServeOptions) -> "WordFinder | None":
    """Finder of words with the stage that was trained with word time stamps; None if there is none."""
    from audio_lm.chat.grounding import STAMP_TASKS, Grounding, ground, stamp_task
    from audio_lm.run.ask import open_model

    try:
        opened = open_model(given.model, task=STAMP_TASKS[0], trusts_code=given.trusts_code)
        task = stamp_task(opened)
    except UserError:
        return None

    def find_words(audio: Path, words: str) -> Grounding:
        return ground(opened, audio, words, task=task)

    return find_words


def read_password(path: Path | None) -> str | None:
    """Password from a file, or else from the environment.

    Raises:
        UserError: the file cannot be read or is empty.
    """
    if path is None:
        return os.environ.get(PASSWORD_VARIABLE) or None
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"--password-file {path} cannot be read -- expected a text file; name another"
        ) from error
    if not text:
        raise UserError(f"--password-file {path} is empty -- expected one line; write the password into it")
    return text
