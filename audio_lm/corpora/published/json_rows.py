"""Rows of JSON files, as publishers of benchmarks offer them."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from audio_lm.common.errors import DataError


def read_json_rows(path: Path, required: Collection[str]) -> list[dict[str, Any]]:
    """Read the rows of a JSON file that is a list of objects.

    Args:
        required: keys of every row.

    Raises:
        DataError: the file is malformed, or a row lacks a key; names the row.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path} is not JSON ({error}); download it again") from error
    if not isinstance(rows, list):
        raise DataError(
            f"{path} contains a {type(rows).__name__} -- expected a list of rows; download it again"
        )
    for number, row in enumerate(rows, start=1):
        values = row if isinstance(row, dict) else {}
        if missing := [key for key in required if values.get(key) in (None, "")]:
            raise DataError(f"{path}: row {number} has no {', '.join(missing)}; repair the row")
    return rows
