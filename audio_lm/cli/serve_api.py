"""OpenAI-compatible endpoint of the command `serve`."""

import os
from pathlib import Path

import typer

from audio_lm.cli.library_messages import silence_libraries
from audio_lm.cli.serve_page import ServeOptions, check_no_page_options

API_PORT = 8000


def serve_api(given: ServeOptions, name: str) -> None:
    """Serve a run or an exported folder until Ctrl-C.

    Args:
        name: of the model in requests; empty for that of its folder.
    """
    check_no_page_options(given)
    # Read when transformers is imported: no request may leave this machine.
    os.environ["HF_HUB_OFFLINE"] = "1"
    silence_libraries()
    from audio_lm.endpoint.config import LOOPBACK, ServeConfig, key_from_environment
    from audio_lm.endpoint.server import check_packages, serve

    check_packages()
    config = ServeConfig(
        given.host or LOOPBACK, API_PORT if given.port is None else given.port, key=key_from_environment()
    )
    from audio_lm.endpoint.folder import find_model

    served = find_model(
        Path(given.model), stage=given.stage, name=name, trusts_code=given.trusts_code, report=typer.echo
    )
    serve(served, config, report=typer.echo)
