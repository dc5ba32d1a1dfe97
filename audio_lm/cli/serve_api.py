"""OpenAI-compatible endpoint of the command `serve`."""

import os
from pathlib import Path

import typer

from audio_lm.cli.library_messages import silence_libraries

API_PORT = 8000


def serve_api(
    model: Path, *, host: str | None, port: int, stage: str | None, name: str, trust_code: bool
) -> None:
    """Serve a run or an exported folder until Ctrl-C."""
    # Read when transformers is imported: no request may leave this machine.
    os.environ["HF_HUB_OFFLINE"] = "1"
    silence_libraries()
    from audio_lm.endpoint.config import LOOPBACK, ServeConfig, key_from_environment
    from audio_lm.endpoint.server import check_packages, serve

    check_packages()
    config = ServeConfig(host or LOOPBACK, port, key=key_from_environment())
    from audio_lm.endpoint.folder import find_model

    served = find_model(model, stage=stage, name=name, trusts_code=trust_code, report=typer.echo)
    serve(served, config, report=typer.echo)
