"""Where audio comes from: files and stretches of tars, never a command or an address.

Lhotse runs a command, or asks the network, to read some types of source.
"""

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from audio_lm.common.secrets import mask_secrets
from audio_lm.data.manifest.json_lines import InvalidLineError, short_repr
from audio_lm.data.manifest.shar import Stretch

LOADABLE = ("file", "memory", "shar")
OUTSIDE = "lies outside"  # in the reason that an index keeps of a line
MAX_NAME_BYTES, MAX_PATH_BYTES = 255, 4096  # bytes; of Linux


def file_of(source: Mapping[str, Any], roots: Sequence[Path] = ()) -> str:
    """The file, or stretch of a tar, behind a source as it is written in a manifest.

    Raises:
        InvalidLineError: there is none, or it lies outside the allowed folders.
    """
    kind, where = source.get("type"), source.get("source")
    if kind == "memory":
        raise InvalidLineError("audio of type 'memory' cannot stand in a manifest; write files")
    if type(where) is not str:
        raise InvalidLineError(f"the source of its recording is {short_repr(where)} -- expected a path")
    check_source(kind, where, roots)
    return where


def check_source(kind: Any, where: str, roots: Sequence[Path] = ()) -> None:
    """Refuse audio that is no file.

    Raises:
        InvalidLineError: it is of such a type, or outside the allowed folders.
    """
    stretch = Stretch.of(where) if kind == "shar" else None
    if kind == "shar" and stretch is None:
        raise InvalidLineError("its audio is in no recording.*.tar beside it")
    if kind not in LOADABLE or where.startswith("pipe:") or where.strip().endswith("|"):
        raise InvalidLineError(
            f"audio of type {short_repr(kind)} is not read, for it could run a command; write files"
        )
    if "://" in where:
        raise InvalidLineError(
            f"audio at the address {short_repr(mask_secrets(where))} is not read; download it and write files"
        )
    if kind == "memory":
        return
    path = where if stretch is None else str(stretch.tar)
    _check_path(path)
    if roots and not any(_is_inside(_real(path), _real_root(str(root))) for root in roots):
        raise InvalidLineError(f"{short_repr(where)} {OUTSIDE} {', '.join(map(str, roots))}")


def _check_path(path: str) -> None:
    if 0 < len(path) <= MAX_NAME_BYTES and path.isascii() and "\0" not in path:
        return
    encoded = path.encode()
    is_short = len(encoded) <= MAX_PATH_BYTES and max(map(len, encoded.split(b"/"))) <= MAX_NAME_BYTES
    if not path or b"\0" in encoded or not is_short:
        raise InvalidLineError(f"no file can have the path {short_repr(path)}")


def _is_inside(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def _real(path: str) -> str:
    return os.path.realpath(path)


@lru_cache(maxsize=64)
def _real_root(root: str) -> str:
    return os.path.realpath(root)
