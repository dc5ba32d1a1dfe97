"""What is kept beside the data: sealed tables, and where they are kept."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from audio_lm.common.errors import DataError, UserError
from audio_lm.common.seals import kept_folder

Table = np.ndarray[Any, np.dtype[np.int32]]


@contextmanager
def writable_cache(cache: Path) -> Iterator[None]:
    """What is inside may have to write into the cache.

    Raises:
        UserError: it cannot be written, or what lies there cannot be read.
    """
    try:
        yield
    except OSError as error:
        place = Path(str(error.filename or cache))
        if not place.is_relative_to(cache):
            raise
        raise UserError(
            f"{place} cannot be used ({error.strerror}); "
            f"set cache_dir to a folder you may write to, in place of {cache}"
        ) from error


def cached_table(
    cache: Path, name: str, known: Sequence[Any], make: Callable[[], Table], *, num_rows: int
) -> Table:
    """A table that follows from what is known, memory-mapped; it is made where none holds.

    Args:
        name: of the folder below the cache, which ends with a digest of ``known``.

    Raises:
        DataError: it was made for another number of rows.
        UserError: the cache cannot be written.
    """
    digest = hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]
    folder = cache / f"{name}-{digest}"
    file_name = f"{folder.name}.npy"
    with writable_cache(cache):
        table = kept_folder(
            folder,
            lambda partial: np.save(partial / file_name, make()),
            lambda there: np.load(there / file_name, mmap_mode="r"),
        )
    if len(table) != num_rows:
        raise DataError(f"{folder / file_name} has {len(table)} rows and not {num_rows}; delete {folder}")
    return table
