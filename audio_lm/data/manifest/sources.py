"""Allowed audio sources: files and byte ranges of tars, never a command or a URL.

Lhotse runs a command, or accesses the network, to read some types of source.
"""

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from audio_lm.common.secrets import mask_secrets
from audio_lm.data.manifest.json_lines import InvalidLineError, short_repr
from audio_lm.data.manifest.shar import ByteRange

LOADABLE = ("file", "memory", "shar")
# An index stores reasons with this text, and digests of rows depend on it.
OUTSIDE = "lies outside"
MAX_NAME_BYTES, MAX_PATH_BYTES = 255, 4096  # limits of Linux


def file_of(source: Mapping[str, Any], roots: Sequence[Path] = ()) -> str:
    """File, or byte range of a tar, of a source in a manifest.

    Raises:
        InvalidLineError: the source is not a file, or is outside the allowed folders.
    """
    kind, where = source.get("type"), source.get("source")
    if kind == "memory":
        raise InvalidLineError("audio of type 'memory' is not allowed in a manifest; write files")
    if type(where) is not str:
        raise InvalidLineError(f"the source of its recording is {short_repr(where)} -- expected a path")
    check_source(kind, where, roots)
    return where


def check_source(kind: Any, where: str, roots: Sequence[Path] = ()) -> None:
    """Refuse audio that is not a file.

    Raises:
        InvalidLineError: the source has another type, or is outside the allowed folders.
    """
    byte_range = ByteRange.of(where) if kind == "shar" else None
    if kind == "shar" and byte_range is None:
        raise InvalidLineError("its audio is not in a recording.*.tar of its folder")
    if kind not in LOADABLE or where.startswith("pipe:") or where.strip().endswith("|"):
        raise InvalidLineError(
            f"audio of type {short_repr(kind)} is not read, because it could run a command; write files"
        )
    if "://" in where:
        raise InvalidLineError(
            f"audio at the URL {short_repr(mask_secrets(where))} is not read; download it and write files"
        )
    if kind == "memory":
        return
    path = where if byte_range is None else str(byte_range.tar)
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
