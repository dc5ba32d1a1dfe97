"""Copy of the rows of a dataset, with their audio, in shards that a killed import keeps.

A shard is a tar of audio files and a file of JSON lines. ``copy.json`` states how many shards are finished, and the
position of the dataset after them; what a killed process wrote after that is written again. Shards end after the same
rows whether or not the import was interrupted.
"""

import fcntl
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePath
from typing import IO, Any

from audio_lm.common.errors import DataError, UserError
from audio_lm.common.files import read_table, sync_file, sync_folder, write_json
from audio_lm.data.manifest.shar import ByteRange

MAX_ROWS = 1_000
MAX_BYTES = 256 << 20
STATE = "copy.json"
LOCK = ".lock"


@dataclass(frozen=True)
class CopiedRow:
    """Row of a dataset."""

    audio: bytes | str | None
    """An encoded audio file, or the path of a local one; None without audio."""

    name: str
    """File name of the audio in the dataset; its suffix is kept."""

    columns: dict[str, Any]
    """All other columns, as JSON."""


@dataclass
class _Shard:
    """Shard that is being written."""

    tar: tarfile.TarFile
    lines: IO[str]
    files: tuple[Path, Path]
    """Of tar and lines, until they are finished."""

    num_rows: int = 0


class AudioCopy:
    """Rows and audio of a dataset in a folder."""

    def __init__(self, folder: Path, column: str) -> None:
        """Read the state of an earlier import.

        Args:
            folder: named after a digest of everything that the rows depend on.
            column: of the audio in the rows.
        """
        self.folder = folder
        self.column = column
        state = read_table(folder / STATE)
        self.num_rows = int(state.get("num_rows", 0))
        self.position: dict[str, Any] | None = state.get("position")
        self.is_complete = bool(state.get("is_complete", False))
        self._num_shards = int(state.get("num_shards", 0))
        self._shard: _Shard | None = None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Exclude other processes, and turn errors of the disk into a sentence.

        Raises:
            UserError: another process writes the copy, or the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield
            except BlockingIOError as error:
                raise UserError(
                    f"another process writes {self.folder}; wait until it has finished"
                ) from error
            finally:
                self._discard_shard()
                os.close(descriptor)
        except OSError as error:
            raise UserError(
                f"{self.folder} cannot be written ({error.strerror}); {self._num_shards} finished shards are kept, and the "
                f"same command continues after them"
            ) from error

    def add(self, row: CopiedRow) -> None:
        """Add the next row."""
        shard = self._shard = self._shard or self._new_shard()
        audio = row.audio if isinstance(row.audio, str | None) else self._store(shard.tar, row)
        shard.lines.write(json.dumps({"audio": audio, "columns": row.columns}, ensure_ascii=False) + "\n")
        shard.num_rows += 1

    @property
    def is_shard_full(self) -> bool:
        """True if the shard should be closed after the last row."""
        shard = self._shard
        return shard is not None and (shard.num_rows >= MAX_ROWS or shard.tar.offset >= MAX_BYTES)

    def close_shard(self, position: dict[str, Any]) -> None:
        """Finish a shard.

        Args:
            position: of the dataset after the last row.
        """
        if self._shard is None:
            return
        shard, self._shard = self._shard, None
        has_audio = shard.tar.offset > 0
        shard.tar.close()
        shard.lines.close()
        if not has_audio:
            shard.files[0].unlink()
        for partial in shard.files if has_audio else shard.files[1:]:
            sync_file(partial)
            partial.replace(partial.with_suffix(""))
        sync_folder(self.folder)
        self.num_rows += shard.num_rows
        self._num_shards += 1
        self.position = position
        self._write_state()

    def complete(self, position: dict[str, Any]) -> None:
        """Finish the last shard, and the copy."""
        self.close_shard(position)
        self.is_complete = True
        self._write_state()

    def rows(self) -> Iterator[dict[str, Any]]:
        """Rows of a complete copy; the audio is a path, or a byte range of a tar.

        Raises:
            DataError: a file is missing or damaged.
        """
        for number in range(self._num_shards):
            tar, lines = self._files(number)
            try:
                with lines.open(encoding="utf-8") as file:
                    for line in file:
                        row = json.loads(line)
                        audio = row["audio"]
                        if isinstance(audio, list):
                            audio = Path(str(ByteRange(tar, *audio)))
                        yield {**row["columns"], self.column: audio}
            except (OSError, ValueError, LookupError, TypeError) as error:
                raise DataError(
                    f"{lines} is damaged ({error}); delete {self.folder}, and import again"
                ) from error

    def _files(self, number: int) -> tuple[Path, Path]:
        return self.folder / f"{number:06d}.tar", self.folder / f"{number:06d}.jsonl"

    def _new_shard(self) -> _Shard:
        tar, lines = (path.with_name(f"{path.name}.part") for path in self._files(self._num_shards))
        opened = tarfile.open(tar, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115  # until the shard is full
        return _Shard(opened, lines.open("w", encoding="utf-8"), (tar, lines))

    def _store(self, tar: tarfile.TarFile, row: CopiedRow) -> list[int]:
        """Add audio to a tar; returns offset and number of bytes."""
        assert isinstance(row.audio, bytes), "other audio is not stored"
        suffix = PurePath(row.name).suffix
        number = self.num_rows + (self._shard.num_rows if self._shard else 0)
        info = tarfile.TarInfo(f"{number:09d}{suffix if suffix[1:].isalnum() and len(suffix) < 8 else ''}")
        info.size = len(row.audio)
        start = tar.offset + tarfile.BLOCKSIZE
        tar.addfile(info, BytesIO(row.audio))
        return [start, len(row.audio)]

    def _discard_shard(self) -> None:
        """Remove the shard of an import that stops early."""
        if self._shard is not None:
            shard, self._shard = self._shard, None
            with suppress(OSError):
                shard.tar.close()
                shard.lines.close()
            for partial in shard.files:
                partial.unlink(missing_ok=True)
        if not self._num_shards and not self.is_complete:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _write_state(self) -> None:
        state = {"num_rows": self.num_rows, "num_shards": self._num_shards, "is_complete": self.is_complete}
        write_json(self.folder / STATE, state | {"position": self.position})
