"""Command that serves a model to other programs."""

from pathlib import Path
from typing import Annotated

import typer

from audio_lm.cli.options import TrustCode
from audio_lm.common.errors import UserError


def serve(
    model: Annotated[
        Path, typer.Argument(metavar="RUN_OR_FOLDER", help="Run, or folder of `audio-lm export`.")
    ],
    api: Annotated[bool, typer.Option("--api", help="Serve an OpenAI-compatible endpoint.")] = False,
    host: Annotated[
        str | None,
        typer.Option(
            help="Address to listen on; default 127.0.0.1. Another needs a key in AUDIO_LM_API_KEY."
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8000,
    stage: Annotated[str | None, typer.Option(help="Stage of a run; default the last with weights.")] = None,
    name: Annotated[
        str, typer.Option(help="Name of the model in requests; default that of its folder.")
    ] = "",
    trust_code: TrustCode = False,
) -> None:
    """Serve a model as an OpenAI-compatible endpoint, on this machine alone unless --host is given.

    Examples: `audio-lm serve runs/demo-1a2b3c4d --api` · `audio-lm serve exported --api --port 0 --name mine`
    """
    if not api:
        raise UserError("no kind of server is chosen -- expected --api -- add it")
    from audio_lm.cli.serve_api import serve_api

    serve_api(model, host=host, port=port, stage=stage, name=name, trust_code=trust_code)
