"""Rows of a dataset through the library ``datasets``: streamed, with the audio as it is encoded, without code of others.

The library would decode audio with torchcodec; here the bytes are taken. Data files outside the dataset's own folder or
repository are refused, because a dataset card may name any.

Source: huggingface/datasets 5.2, ``load.py``, ``iterable_dataset.py`` (state_dict, decode),
``packaged_modules/folder_based_builder``.
"""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from audio_lm.common.errors import DataError, first_line, missing_extra
from audio_lm.corpora.imports.audio_copy import CopiedRow
from audio_lm.corpora.imports.common import ImportOptions
from audio_lm.corpora.imports.table import SPLIT_OF_NAME
from audio_lm.data.audio.fingerprints import states_of

VERSION = 1  # incremented when the same dataset gives other rows
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
HUB_URL = "hf://datasets/"
BUILDERS = ("parquet", "arrow", "audiofolder")
"""Kinds of data files; the other ones contain no audio, or have an import of their own."""

SAVED, SAVED_SPLITS = "dataset_info.json", "dataset_dict.json"  # of ``save_to_disk``
MAX_FILES_SHOWN = 3


class HfDataset:
    """One split of a dataset."""

    def __init__(
        self, name: str, split: str, dataset: Any, files: Sequence[str], num_rows: int | None, root: str
    ) -> None:
        """Take an ``IterableDataset``.

        Args:
            files: data files: paths, or URLs with the commit.
            root: prefix of all files that rows may name: a folder, or a repository.
        """
        self.name = name
        self.split = split
        self.num_rows = num_rows
        self._root = root
        self._files = files
        self._dataset = dataset
        self._features: Mapping[str, Any] = dataset.features or {}
        self.columns: list[str] = list(self._features)
        self.audio_columns = [
            column for column, feature in self._features.items() if type(feature).__name__ == "Audio"
        ]
        self.audio_column = ""
        """Chosen before rows are read."""

    def digest(self) -> str:
        """Digest of everything that the rows depend on: the files with their states, the split, and the column of audio."""
        local = [name for name in self._files if os.path.isabs(name)]
        known = [
            VERSION,
            self._root,
            self.split,
            self.audio_column,
            list(self._files),
            states_of(local).tolist(),
        ]
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:12]

    def rows(self, position: Mapping[str, Any] | None, num_read: int) -> Iterator[CopiedRow]:
        """Rows after a position.

        Args:
            num_read: rows before the position.

        Raises:
            DataError: the dataset cannot be read; names the row.
        """
        number = num_read
        try:
            if position is not None:
                self._dataset.load_state_dict(dict(position))
            for row in self._dataset:
                number += 1
                yield self._row(row)
        except (DataError, OSError) as error:
            if isinstance(error, DataError):
                raise
            raise self._unreadable(number, error) from error
        except Exception as error:  # errors of pyarrow, fsspec, httpx and others
            raise self._unreadable(number, error) from error

    def position(self) -> dict[str, Any]:
        """Position after the last row."""
        state: dict[str, Any] = self._dataset.state_dict()
        return state

    def _unreadable(self, number: int, error: Exception) -> DataError:
        return DataError(
            f"{self.name} ({self.split}) cannot be read after row {number} ({first_line(error)}); finished shards are kept: "
            f"repair the dataset, or repeat the command to continue"
        )

    def _row(self, row: Mapping[str, Any]) -> CopiedRow:
        audio = row[self.audio_column]
        content: bytes | None = None
        path = audio
        if isinstance(audio, Mapping):
            content, path = audio.get("bytes"), audio.get("path")
        elif isinstance(audio, bytes):
            content, path = audio, None
        if content is None and isinstance(path, str) and "://" in path:
            content = self._download(path)
        columns = {
            column: _as_json(value, self._features.get(column))
            for column, value in row.items()
            if column != self.audio_column
        }
        return CopiedRow(path if content is None else content, str(path or ""), columns)

    def _download(self, url: str) -> bytes | None:
        """Content of a file in the repository, or in an archive of it; None for other URLs, which the import refuses."""
        if not url.rpartition("::")[2].startswith(self._root):
            return None
        from datasets.utils.file_utils import xopen

        with xopen(url, "rb") as file:
            content: bytes = file.read()
            return content


def open_dataset(place: str, options: ImportOptions) -> HfDataset:
    """Open one split of a dataset.

    Args:
        place: folder, parquet file, or name of a dataset of the Hub.

    Raises:
        DataError: the dataset, its configuration or its split does not exist, or it has files of another place.
        UserError: the library is not installed.
    """
    try:
        import datasets
    except ImportError as error:
        raise missing_extra("datasets", extra="hf", purpose="the format hf") from error
    datasets.disable_progress_bars()
    path = Path(place).absolute()
    if not path.exists() and not HUB_NAME.fullmatch(place):
        raise DataError(f"{place} is missing; give an existing folder, or owner/name of a dataset of the Hub")
    if path.exists() and options.revision:
        raise DataError(f"a revision was given, but {place} is on this machine; omit it")
    try:
        if any((path / name).is_file() for name in (SAVED, SAVED_SPLITS)):
            return _open_saved(path, options)
        return _open_builder(place, path, options)
    except DataError:
        raise
    except Exception as error:  # errors of pyarrow, fsspec, httpx and others
        raise DataError(
            f"{place} cannot be opened as a dataset ({first_line(error)}); correct the name, --config, --split or --revision"
        ) from error


def _open_saved(path: Path, options: ImportOptions) -> HfDataset:
    """Open a folder of ``save_to_disk``."""
    from datasets import load_from_disk

    if options.config:
        raise DataError(
            f"a configuration was given, but {path} was saved by save_to_disk and has none; omit it"
        )
    split = "train"
    folder = path
    if (path / SAVED_SPLITS).is_file():
        split = _choose_split(str(path), json.loads((path / SAVED_SPLITS).read_bytes())["splits"], options)
        folder = path / split
    dataset = load_from_disk(str(folder), keep_in_memory=False)
    split = str(dataset.split or split)
    if options.dataset_split not in ("", split):
        raise DataError(f"{path} has the split {split!r} alone, not {options.dataset_split!r}; omit --split")
    files = sorted(str(file) for file in folder.glob("*.arrow"))
    rows = dataset.to_iterable_dataset().decode(False)
    return HfDataset(str(path), split, rows, files, len(dataset), f"{path}/")


def _open_builder(place: str, path: Path, options: ImportOptions) -> HfDataset:
    """Open a dataset of the Hub, or a folder like it."""
    from datasets import Value, load_dataset_builder
    from datasets.packaged_modules.audiofolder.audiofolder import AudioFolder

    is_local = path.exists()
    config = options.config or None
    with tempfile.TemporaryDirectory() as cache:  # nothing is prepared in it, because rows are streamed
        if path.is_file():
            builder = load_dataset_builder(
                "parquet", name=config, data_files={"train": str(path)}, cache_dir=cache
            )
        else:
            name, revision = (str(path), None) if is_local else (place, options.revision or None)
            builder = load_dataset_builder(name, name=config, revision=revision, cache_dir=cache)
        kind = type(builder).__module__.rpartition(".")[2]
        root = f"{path.parent if path.is_file() else path}/" if is_local else f"{HUB_URL}{place}@"
        split = _choose_split(place, [str(name) for name in builder.config.data_files], options)
        files = list(builder.config.data_files[split])
        if kind not in BUILDERS:
            raise DataError(
                f"{place} is a dataset of {kind} files -- expected one of {', '.join(BUILDERS)}; download it, and use the "
                f"import table or webdataset, or convert it"
            )
        outside = [file for file in files if not file.startswith(root)]
        if outside:
            raise DataError(
                f"{place} has data files of another place, {outside[:MAX_FILES_SHOWN]}; copy them into its folder"
            )
        dataset = builder.as_streaming_dataset(split=split)
        if isinstance(builder, AudioFolder):  # its rows name files, which Audio would encode with torchcodec
            for column, feature in (dataset.features or {}).items():
                if type(feature).__name__ == "Audio":
                    dataset = dataset.cast_column(column, Value("string"))
            opened = HfDataset(place, split, dataset, files, len(files), root)
            opened.audio_columns = ["audio"]
            return opened
        return HfDataset(place, split, dataset.decode(False), files, _num_rows(builder, split, files), root)


def _num_rows(builder: Any, split: str, files: Sequence[str]) -> int | None:
    """Number of rows, as the card states or the parquet files on this machine do; else None."""
    stated = (builder.info.splits or {}).get(split)
    if stated is not None and stated.num_examples:
        return int(stated.num_examples)
    if all(file.endswith(".parquet") and os.path.isabs(file) for file in files):
        from pyarrow.parquet import read_metadata

        return sum(read_metadata(file).num_rows for file in files)
    return None


def _choose_split(place: str, splits: Sequence[str], options: ImportOptions) -> str:
    """Split to import: the given one, that with the manifest's name, or the only one."""
    if options.dataset_split:
        found = [name for name in splits if name == options.dataset_split]
    else:
        found = [name for name in splits if SPLIT_OF_NAME.get(name) == options.split]
        found = found or (list(splits) if len(splits) == 1 else [])
    if len(found) != 1:
        wanted = options.dataset_split or options.split
        raise DataError(f"{place} has the splits {list(splits)}, not {wanted!r}; choose one with --split")
    return found[0]


def _as_json(value: Any, feature: Any) -> Any:
    """Value for a line of JSON: names of classes instead of numbers, and no content of other files."""
    if feature is not None and hasattr(feature, "int2str"):
        return None if value is None or value == -1 else feature.int2str(value)
    if isinstance(value, Mapping):
        return {key: _as_json(inner, None) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        inner_feature = getattr(feature, "feature", None)
        return [_as_json(inner, inner_feature) for inner in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return f"{len(value)} bytes" if isinstance(value, bytes) else str(value)
