"""Command that serves a model: a chat page for a browser, or an endpoint for other programs."""

from pathlib import Path
from typing import Annotated

import typer

from audio_lm.cli.options import TrustCode
from audio_lm.cli.serve_api import serve_api
from audio_lm.cli.serve_page import PASSWORD_VARIABLE, ServeOptions, serve_page
from audio_lm.common.errors import UserError

Model = Annotated[
    str,
    typer.Argument(metavar="RUN_OR_FOLDER", help="Run, exported or published model folder, or a hub name."),
]
Stage = Annotated[
    str | None, typer.Option(help="Stage of a run; default the last that was trained with conversations.")
]
Host = Annotated[
    str | None,
    typer.Option(
        help="Address to serve on; default 127.0.0.1. Another needs a password; with --api, a key in AUDIO_LM_API_KEY."
    ),
]
Port = Annotated[
    int | None, typer.Option(min=0, max=65535, help="Port, 0 for a free one; default 7860, with --api 8000.")
]
PasswordFile = Annotated[
    Path | None, typer.Option(help=f"File with the password of the page; or set {PASSWORD_VARIABLE}.")
]
Certificate = Annotated[
    Path | None, typer.Option(help="PEM file of TLS, which the microphones of other machines need.")
]
Key = Annotated[Path | None, typer.Option(help="PEM file of the certificate's key.")]
MaxUpload = Annotated[float, typer.Option(help="Maximum size of an audio file, in MiB.")]
MaxSeconds = Annotated[float, typer.Option(help="Maximum duration of an audio file, in seconds.")]
MaxSessions = Annotated[int, typer.Option(help="Maximum number of open conversations.")]
Concurrency = Annotated[int, typer.Option(help="Answers at a time; other questions wait.")]
LongAudioRule = Annotated[
    str | None,
    typer.Option(
        help="Audio over 30 s: error, truncate, or chunk (several clips); default that of training."
    ),
]
Temperature = Annotated[float, typer.Option(help="0 for the most probable tokens; the page can change it.")]
MaxNewTokens = Annotated[
    int, typer.Option(min=1, help="Maximum length of an answer; the page can change it.")
]


def serve(
    model: Model,
    api: Annotated[bool, typer.Option("--api", help="Serve an OpenAI-compatible endpoint.")] = False,
    name: Annotated[
        str, typer.Option(help="With --api: name of the model in requests; default that of its folder.")
    ] = "",
    stage: Stage = None,
    host: Host = None,
    port: Port = None,
    password_file: PasswordFile = None,
    certificate: Certificate = None,
    key: Key = None,
    max_upload: MaxUpload = ServeOptions.max_upload,
    max_seconds: MaxSeconds = ServeOptions.max_seconds,
    max_sessions: MaxSessions = ServeOptions.max_sessions,
    concurrency: Concurrency = ServeOptions.concurrency,
    long_audio: LongAudioRule = None,
    temperature: Temperature = ServeOptions.temperature,
    max_new_tokens: MaxNewTokens = ServeOptions.max_new_tokens,
    trust_code: TrustCode = False,
) -> None:
    """Serve a chat page for a browser: microphone, uploads, several audios in a conversation.

    With `--api` it is an endpoint instead, for programs that speak OpenAI's protocol.

    The page makes no request to another machine, and the audio of a conversation is deleted when its page is closed.

    Examples: `audio-lm serve runs/demo-1a2b3c4d` · `audio-lm serve exported --port 8080` ·
    `audio-lm serve exported --host 0.0.0.0 --password-file password.txt --certificate cert.pem --key key.pem` ·
    `audio-lm serve runs/demo-1a2b3c4d --api`
    """
    if name and not api:
        raise UserError(f"--name {name} has no effect on a page -- expected --api with it -- leave it out")
    options = ServeOptions(
        model=model,
        stage=stage,
        host=host,
        port=port,
        password_file=password_file,
        certificate=certificate,
        key=key,
        max_upload=max_upload,
        max_seconds=max_seconds,
        max_sessions=max_sessions,
        concurrency=concurrency,
        long_audio=long_audio,
        temperature=temperature,
        max_new_tokens=max_new_tokens,
        trusts_code=trust_code,
    )
    if api:
        serve_api(options, name)
    else:
        serve_page(options)
