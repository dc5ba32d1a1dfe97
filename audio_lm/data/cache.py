"""Cache of tables computed from the data, in sealed folders."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from audio_lm.common.errors import DataError, UserError
from audio_lm.common.protocols import Factory
from audio_lm.common.seals import cached_folder

CACHE = ".index"
"""Default cache folder in ``data_dir``: indexes, token lengths, tokenizers, lengths of imported audio files.

It may be deleted at any time.
"""

Table = np.ndarray[Any, np.dtype[np.int32]]


@contextmanager
def writable_cache(cache: Path) -> Iterator[None]:
    """Turn an ``OSError`` below the cache folder into a ``UserError`` with a remedy.

    Raises:
        UserError: the cache cannot be read or written.
    """
    try:
        yield
    except OSError as error:
        path = Path(str(error.filename or cache))
        if not path.is_relative_to(cache):
            raise
        raise UserError(
            f"{path} cannot be used ({error.strerror}); "
            f"set cache_dir to a folder you may write to, in place of {cache}"
        ) from error


def cached_table(
    cache: Path, name: str, known: Sequence[Any], make: Factory[Table], *, num_rows: int
) -> Table:
    """Load a table from the cache, memory-mapped; compute and store it if it is missing or damaged.

    Args:
        name: of the folder below the cache; a digest of ``known`` is appended.
        known: everything that the table depends on.

    Raises:
        DataError: the table has another number of rows.
        UserError: the cache cannot be written.
    """
    digest = hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]
    folder = cache / f"{name}-{digest}"
    file_name = f"{folder.name}.npy"
    with writable_cache(cache):
        table = cached_folder(
            folder,
            lambda partial: np.save(partial / file_name, make()),
            lambda found: np.load(found / file_name, mmap_mode="r"),
        )
    if len(table) != num_rows:
        raise DataError(f"{folder / file_name} has {len(table)} rows and not {num_rows}; delete {folder}")
    return table
