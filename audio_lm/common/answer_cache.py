"""Answers of a model that are kept on disk, by the hash of the request: JSON Lines, each with its checksum.

One process writes a file at a time, which a lock ensures; its threads may share it. The end of a line that a killed
process left is removed. The requests themselves, with audio and key, are not written.
"""

import fcntl
import hashlib
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from audio_lm.common.errors import UserError
from audio_lm.common.files import read_lines, seal


class Reply(NamedTuple):
    """Answer of a model."""

    text: str
    model: str  # as the server names it
    finish_reason: str = ""  # `stop`, or `length` if the answer was cut


def request_hash(url: str, body: Mapping[str, Any]) -> str:
    """Hash of a request: everything that decides its answer, and no header."""
    content = json.dumps({"url": url, "body": body}, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


class AnswerCache:
    """Answers by the hash of their request.

    Raises:
        UserError: the file cannot be written, or another process writes it.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")
        except OSError as error:
            raise UserError(
                f"the cache {path} cannot be written ({error.strerror}) -- expected a file -- choose another path"
            ) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise UserError(
                f"the cache {path} is being written by another process -- expected one at a time -- "
                f"wait for it, or choose another path"
            ) from None
        except OSError:
            pass  # a file system without locks
        self._replies, end = {}, 0
        for record, end in read_lines(path):  # noqa: B007 - the end of the last line is needed
            if record is not None and isinstance(record.get("request"), str):
                self._replies[record["request"]] = _reply_of(record)
        self._file.truncate(end)

    def __len__(self) -> int:
        return len(self._replies)

    def get(self, key: str) -> Reply | None:
        """Kept answer to a request."""
        with self._lock:
            return self._replies.get(key)

    def put(self, key: str, reply: Reply) -> None:
        """Keep an answer; it is on disk when this returns."""
        line = json.dumps(seal({"request": key, **reply._asdict()}), ensure_ascii=False) + "\n"
        with self._lock:
            self._file.write(line.encode("utf-8", "backslashreplace"))
            self._file.flush()
            os.fsync(self._file.fileno())
            self._replies[key] = reply

    def close(self) -> None:
        """Close the file, so that another process may write it."""
        self._file.close()


def _reply_of(record: Mapping[str, Any]) -> Reply:
    return Reply(*(str(record.get(name, "")) for name in Reply._fields))
