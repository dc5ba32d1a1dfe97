"""Files of the golden predictions, and the output of published code."""

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
COUNT = 120  # rows of a file


def write_json(name: str, rows: Sequence[Any]) -> Path:
    """Write rows as a list, one per line."""
    path = HERE / name
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    return path


def write_lines(name: str, rows: Sequence[Any]) -> Path:
    """Write rows as JSON lines."""
    path = HERE / name
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def printed_by(script: Path, *arguments: str, folder: Path | None = None) -> str:
    """Output of a script."""
    command = [sys.executable, str(script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    return done.stdout


def captured(run: Callable[[], Any]) -> str:
    """What a function prints."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        run()
    return out.getvalue()
