"""Server of an endpoint: the application of `transformers serve` for one model, behind the guard, in one process."""

import socket
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from audio_lm.common.errors import UserError, missing_extra
from audio_lm.common.protocols import Report
from audio_lm.endpoint.config import ServeConfig
from audio_lm.endpoint.guard import Application, Guard
from audio_lm.endpoint.request import ServedModel

PACKAGES = ("openai", "uvicorn", "fastapi", "accelerate", "soxr")
OLDEST = (5, 23)
"""Of transformers: earlier releases decode audio with librosa."""

BACKLOG = 64
CLOSING_SECONDS = 5
KEEP_ALIVE_SECONDS = 75


def check_packages() -> None:
    """Check that all packages of an endpoint are there.

    Raises:
        UserError: one is missing, or transformers is too old.
    """
    for package in PACKAGES:
        if find_spec(package) is None:
            raise missing_extra(package, extra="api", purpose="an endpoint (`serve --api`)")
    try:
        found = version("transformers")
    except PackageNotFoundError:
        raise missing_extra("transformers", extra="api", purpose="an endpoint (`serve --api`)") from None
    if tuple(map(int, found.split(".")[:2])) < OLDEST:
        raise UserError(
            f"transformers {found} -- expected {'.'.join(map(str, OLDEST))} or later for `serve --api` -- "
            f"pip install 'audio-lm[api]'"
        )


def serve(model: ServedModel, config: ServeConfig, *, report: Report = print) -> None:
    """Load a model and answer requests until a signal ends the process.

    Raises:
        UserError: the address is in use or none of this machine, or a package is missing.
    """
    check_packages()
    with listen(config) as listener:
        application = load_application(model)
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        report(f"http://{shown}:{port}/v1 serves {model.name!r}; Ctrl-C ends it")
        _run(Guard(application, model, config), listener)


def listen(config: ServeConfig) -> socket.socket:
    """Open the address, so that clients may connect while the server starts.

    Raises:
        UserError: it is in use, or none of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise UserError(
            f"{config.host} port {config.port} cannot be opened ({error.strerror}) -- expected a free port of this "
            f"machine -- choose another with --port, or 0 for any"
        ) from None
    return listener


def load_application(model: ServedModel) -> Application:
    """Application of `transformers serve` with a model loaded."""
    from transformers.cli.serve import Serve

    class Unstarted(Serve):  # type: ignore[misc]
        """Server that is built, but not started: the guard stands in front of its application."""

        def start_server(self) -> None:
            """Do nothing."""

    served: Any = Unstarted(model.path, device="auto", dtype="auto", log_level="error", non_blocking=True)
    application: Application = served.server.config.app
    return application


def _run(application: Application, listener: socket.socket) -> None:
    import uvicorn

    config = uvicorn.Config(
        application,
        log_level="warning",
        access_log=False,
        # Longer than clients keep an idle connection (5 s in openai), so that none uses one while it is closed.
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=CLOSING_SECONDS,
        server_header=False,
    )
    uvicorn.Server(config).run(sockets=[listener])
