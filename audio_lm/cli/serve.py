"""Command that serves a chat page."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audio_lm.cli.library_messages import silence_libraries
from audio_lm.cli.options import TrustCode, paused_gc
from audio_lm.common.errors import UserError

if TYPE_CHECKING:
    from audio_lm.web.sessions import WordFinder

PASSWORD_VARIABLE = "AUDIO_LM_PASSWORD"


def serve(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Run, exported or published model folder, or a hub name.")
    ],
    stage: Annotated[
        str | None, typer.Option(help="Stage of a run; default the last that was trained with conversations.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to serve on; another than this machine's own needs a password.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for a free one.")] = 7860,
    password_file: Annotated[
        Path | None,
        typer.Option(help=f"File with the password of the page; or set {PASSWORD_VARIABLE}."),
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(help="PEM file of TLS, which microphones of other machines need.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="PEM file of the certificate's key.")] = None,
    max_upload: Annotated[float, typer.Option(help="Size of one audio file, in MiB.")] = 25.0,
    max_seconds: Annotated[float, typer.Option(help="Duration of one audio file, in seconds.")] = 120.0,
    max_sessions: Annotated[int, typer.Option(help="Open conversations.")] = 32,
    concurrency: Annotated[int, typer.Option(help="Answers at a time; other questions wait.")] = 1,
    long_audio: Annotated[
        str | None,
        typer.Option(
            help="Audio over 30 s: error, truncate, or chunk (several clips); default that of training."
        ),
    ] = None,
    temperature: Annotated[float, typer.Option(help="0 for the most probable tokens.")] = 0.0,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Maximum length of an answer.")] = 256,
    trust_code: TrustCode = False,
) -> None:
    """Serve a chat page for a browser: microphone, uploads, several audios in a conversation.

    The page makes no request to another machine, and the audio of a conversation is deleted when its page is closed.

    Examples: `audio-lm serve runs/demo-1a2b3c4d` · `audio-lm serve exported --port 8000` ·
    `audio-lm serve exported --host 0.0.0.0 --password-file password.txt --certificate cert.pem --key key.pem`
    """
    silence_libraries()
    if long_audio not in (None, "error", "truncate", "chunk"):
        raise UserError(f"--long-audio {long_audio} -- expected error, truncate or chunk; choose one")
    with paused_gc():
        from audio_lm.chat.session import ChatOptions, ChatSession, open_chat_model
        from audio_lm.model.decoder.sampling import SamplingConfig
        from audio_lm.web.limits import Limits
        from audio_lm.web.prompts import example_prompts
        from audio_lm.web.server import Address, Site, bind, check_packages
        from audio_lm.web.server import serve as serve_page

        address = Address(host, port, _password(password_file), certificate, key)
        options = ChatOptions(max_new_tokens, SamplingConfig(temperature), long_audio=long_audio)  # type: ignore[arg-type]
        check_packages()
        opened = bind(address)
        loaded = open_chat_model(model, stage=stage, trusts_code=trust_code)
        limits = Limits(
            upload_mib=max_upload,
            seconds=max_seconds,
            long_audio=options.long_audio or loaded.long_audio,
            num_answers=concurrency,
            num_sessions=max_sessions,
        )
        prompts = example_prompts(loaded, model, trusts_code=trust_code)
        site = Site(loaded.source, options, prompts, _word_finder(model, trusts_code=trust_code))
    typer.echo(f"{address.url(opened.getsockname()[1])}   (Ctrl-C ends it)")
    serve_page(lambda: ChatSession(loaded, options), site, opened, address, limits)


def _word_finder(model: str, *, trusts_code: bool) -> "WordFinder | None":
    """Finder of words with the stage that was trained with word time stamps; None if there is none."""
    from audio_lm.chat.grounding import STAMP_TASKS, Grounding, ground, stamp_task
    from audio_lm.run.ask import open_model

    opened = open_model(model, task=STAMP_TASKS[0], trusts_code=trusts_code)
    try:
        task = stamp_task(opened)
    except UserError:
        return None

    def find_words(audio: Path, words: str) -> Grounding:
        return ground(opened, audio, words, task=task)

    return find_words


def _password(path: Path | None) -> str | None:
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
