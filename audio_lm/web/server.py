"""Server of the chat page: one process, one model, files in a temporary folder that is deleted at its end."""

import os
import re
import signal
import socket
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from audio_lm.chat.conversation import ChatOptions
from audio_lm.common.errors import UserError, first_line, missing_extra
from audio_lm.web.limits import Limits
from audio_lm.web.prompts import ExamplePrompt
from audio_lm.web.sessions import WordFinder
from audio_lm.web.store import ChatFactory, SessionStore

CLIP_FILE = re.compile(r"[0-9a-f]{32}\.(wav|png)")
MIN_PASSWORD = 8  # characters
SETTINGS_OF_GRADIO = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}


@dataclass(frozen=True)
class Address:
    """Place where the page is served, and who may open it."""

    host: str = "127.0.0.1"
    port: int = 7860
    password: str | None = field(default=None, repr=False)
    certificate: Path | None = None
    """PEM file of TLS; browsers give a microphone only to pages of this machine or of TLS."""

    key: Path | None = None
    """PEM file of the certificate's key, where it is not in the same file."""

    def __post_init__(self) -> None:
        if not self.is_loopback and self.password is None:
            raise UserError(
                f"--host {self.host} -- expected a password, because other machines can open the page; set AUDIO_LM_PASSWORD "
                f"or name a file with --password-file"
            )
        if self.password is not None and len(self.password) < MIN_PASSWORD:
            raise UserError(
                f"the password has {len(self.password)} characters -- expected at least {MIN_PASSWORD}; choose a longer one"
            )
        for path in (self.certificate, self.key):
            if path is not None and not path.is_file():
                raise UserError(f"{path} is missing -- expected a PEM file; name the certificate or its key")

    @property
    def is_loopback(self) -> bool:
        """True if only this machine can open the page."""
        return self.host in LOOPBACK

    def url(self, port: int) -> str:
        """Address to open in a browser."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.certificate else ''}://{name}:{port}"


LOOPBACK = ("localhost", "127.0.0.1", "::1")


def bind(address: Address) -> socket.socket:
    """Open the socket, so that a port in use is reported before a model is loaded.

    Raises:
        UserError: the port is in use or the host is no address of this machine.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((address.host, address.port))
        opened.listen()  # a browser that is faster than the server waits, instead of being refused
    except (OSError, UnicodeError) as error:
        opened.close()
        raise UserError(
            f"{address.host} port {address.port} cannot be opened ({first_line(error)}) -- expected an address of this machine "
            f"and a free port; choose another with --host and --port"
        ) from error
    return opened


def check_packages() -> None:
    """Import gradio with its requests to other machines switched off.

    Raises:
        UserError: the extra ``web`` is not installed.
    """
    os.environ.update(SETTINGS_OF_GRADIO)
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise missing_extra("gradio", extra="web", purpose="the chat page") from error


@dataclass(frozen=True)
class Site:
    """Content of the page, besides its conversations."""

    title: str
    """Name of the model."""

    options: ChatOptions = field(default_factory=ChatOptions)
    """Of the conversations, before a page changes them."""

    prompts: tuple[ExamplePrompt, ...] = ()
    """Questions to offer."""

    find_words: WordFinder | None = None
    """Finds words in the audio; None if no model of the run writes time stamps."""


def serve(new_chat: ChatFactory, site: Site, opened: socket.socket, address: Address, limits: Limits) -> None:
    """Serve the page until the process is interrupted or terminated; then delete all files of all sessions."""
    import uvicorn

    with tempfile.TemporaryDirectory(prefix="audio-lm-serve-") as folder:
        store = SessionStore(new_chat, Path(folder), limits, site.find_words)
        config = uvicorn.Config(
            build_app(store, site, Path(folder), address),
            log_level="warning",
            ssl_certfile=address.certificate,
            ssl_keyfile=address.key,
            # Open pages keep a connection; the end of the server does not wait for them.
            timeout_graceful_shutdown=2,
        )
        # uvicorn ends at a signal and then raises it again, which without a handler would leave the files.
        signal.signal(signal.SIGTERM, _exit)
        try:
            uvicorn.Server(config).run(sockets=[opened])
        finally:
            store.close_all()


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def build_app(store: SessionStore, site: Site, folder: Path, address: Address) -> Any:
    """ASGI application: the page, and the audio and pictures of its conversations.

    Args:
        folder: for uploads.
    """
    check_packages()
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "uploads")
    import gradio
    from fastapi import FastAPI, HTTPException
    from fastapi.responses import FileResponse

    from audio_lm.web.guard import LOOPBACK_NAMES, Guard
    from audio_lm.web.page import build_page, page_assets

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    def read_clip(name: str) -> FileResponse:
        path = store.find_file(name) if CLIP_FILE.fullmatch(name) else None
        if path is None:
            raise HTTPException(404, "no such audio; its conversation has ended")
        return FileResponse(path)

    app.get("/clips/{name}")(read_clip)
    gradio.mount_gradio_app(
        app,
        build_page(store, site.options, title=site.title, prompts=site.prompts),
        path="/",
        max_file_size=store.limits.upload_bytes,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        enable_monitoring=False,
        show_error=True,
        **page_assets(),
    )
    return Guard(
        app,
        max_body_bytes=store.limits.body_bytes,
        password=address.password,
        host_names=LOOPBACK_NAMES if address.is_loopback else (),
    )
