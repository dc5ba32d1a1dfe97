"""Open questions with their answers, for a judge: of a run's benchmarks, or of a file.

Files are JSON or JSON Lines, in the form of AIR-Bench's chat part (``question``, ``answer_gt``, ``response``,
``meta_info``), or with ``id``, ``question``, ``reference`` and ``answer``.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audio_lm.common.errors import DataError

NAMES = {
    "id": ("id", "uniq_id"),
    "question": ("question",),
    "reference": ("reference", "references", "answer_gt"),
    "answer": ("answer", "response", "prediction"),
    "description": ("description", "meta_info"),
    "group": ("group", "task_name", "category"),
}
"""Field -> its names in a file; the first that a row has counts."""

NEEDED = ("id", "question", "reference", "answer")
AIR_BENCH_GROUPS = {
    "speech_QA": "speech",
    "speech_dialogue_QA": "speech",
    "sound_QA": "sound",
    "sound_generation_QA": "sound",
    "music_QA": "music",
    "music_generation_analysis_QA": "music",
    "speech_and_sound_QA": "speech and sound",
    "speech_and_music_QA": "speech and music",
}
"""Task of AIR-Bench -> the group of its table. Source: cal_score.py of OFA-Sys/AIR-Bench at 2c35f44."""


@dataclass(frozen=True)
class OpenQuestion:
    """A question in words, a reference answer and the answer of a model."""

    id: str
    question: str
    reference: str
    answer: str

    description: str | None = None
    """Content of the clip in words, for a judge that has no audio."""

    group: str = ""
    """Part of the benchmark with a score of its own."""


def read_questions(path: Path) -> list[OpenQuestion]:
    """Read the questions of a file.

    Raises:
        DataError: the file cannot be read, a row lacks a field or has no text in it, or an id occurs twice; names the row.
    """
    questions: list[OpenQuestion] = []
    seen: dict[str, str] = {}
    for place, row in _rows(path):
        question = _question(place, row)
        if question.id in seen:
            raise DataError(
                f"{place}: id {question.id!r} is that of {seen[question.id]} too -- expected one row for each question -- "
                f"remove one of them"
            )
        seen[question.id] = place
        questions.append(question)
    if not questions:
        raise DataError(f"{path} has no rows -- expected open questions with answers -- choose another file")
    return questions


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Rows of a list or of JSON Lines, each with its place."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} cannot be read ({error}) -- expected JSON or JSON Lines -- correct the path"
        ) from error
    rows: Sequence[tuple[str, Any]]
    try:
        if text.lstrip().startswith("["):
            rows = [(f"{path}: row {number}", row) for number, row in enumerate(json.loads(text), start=1)]
        else:
            lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
            rows = [(f"{path}:{number}", json.loads(line)) for number, line in lines]
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path} is no JSON ({error}) -- expected a list or a row per line -- repair it"
        ) from error
    for place, row in rows:
        if not isinstance(row, dict):
            raise DataError(f"{place}: {str(row)[:40]!r} is no row -- expected an object -- repair it")
        yield place, row


def _question(place: str, row: Mapping[str, Any]) -> OpenQuestion:
    fields: dict[str, str] = {}
    for field, names in NAMES.items():
        value = next((row[name] for name in names if row.get(name) is not None), None)
        if field == "answer" and value is None and any(name in row for name in names):
            value = ""  # AIR-Bench's script leaves such a row out; here it has the lowest score
        text = reference_text(value) if field == "reference" and isinstance(value, list) else value
        is_blank = not isinstance(text, str | int) or (field != "answer" and not str(text).strip())
        if field in NEEDED and is_blank:
            raise DataError(
                f"{place}: no {field} -- expected a text in {' or '.join(names)} -- add it, or remove the row"
            )
        if not is_blank:
            fields[field] = str(text)
    group = fields.get("group", "")
    return OpenQuestion(**fields | {"group": AIR_BENCH_GROUPS.get(group, group)})


def reference_text(references: Sequence[Any]) -> str:
    r"""References as one text; several are numbered.

    >>> reference_text(["a dog"]), reference_text(["a dog", "a bark"])
    ('a dog', '1. a dog\n2. a bark')
    """
    if len(references) == 1:
        return str(references[0])
    return "\n".join(f"{number}. {text}" for number, text in enumerate(references, start=1))
