"""Labels of the columns of a NeMo manifest: transcripts, and the translations of Canary's manifests.

``text`` is the target, in ``target_lang``. ``taskname`` or ``task`` decides whether it is a transcript (of
``source_lang``) or a translation; without them, the two languages do. Some manifests name the target ``answer``, or
``translation`` next to a transcript.

Source: NVIDIA/NeMo, nemo/collections/common/prompts/canary.py and canary2.py at 013ee8c4, and "Canary Manifest Format"
of its documentation.
"""

import re

from audio_lm.common.errors import DataError
from audio_lm.corpora.imports.common import ImportOptions, Row
from audio_lm.corpora.imports.labels import parse_label

COLUMNS = {"text": "text", "lang": "language", "speaker": "speaker"}
ASR, TRANSLATION = "asr", "translation"
TASK_OF_NAME = {ASR: ASR, "transcribe": ASR} | dict.fromkeys(
    ("ast", "s2t_translation", "translate", TRANSLATION), TRANSLATION
)
TOKENS = re.compile(r"<\|(\d+|spk\d+|emo:\w+)\|>")
PLACEHOLDERS = ("", "na", "n/a")  # targets in manifests for inference


def label_of_column(row: Row, options: ImportOptions) -> dict[str, str]:
    """Column -> label of a row, by its task; the options' columns take precedence.

    Raises:
        DataError: the task is unknown, or the languages contradict it.
    """
    known = _known_columns(row, options)
    taken = set(options.columns.values())
    known = {
        column: label
        for column, label in known.items()
        if label not in taken and column not in options.columns
    }
    return known | {column: label for column, label in options.columns.items() if label}


def _known_columns(row: Row, options: ImportOptions) -> dict[str, str]:
    source, target, lang = (
        _language(row, column, options) for column in ("source_lang", "target_lang", "lang")
    )
    name = next((row.get(key) for key in ("taskname", "task") if _has(row, key, options)), None)
    if name is None and source is None and target is None:
        return COLUMNS
    if lang is not None and (source or target) and lang not in (source, target):
        raise DataError(f"lang is {lang!r}, source_lang {source!r} and target_lang {target!r}; correct them")
    task = _task(name, source, target, options.language)
    column = _column_of_target(row, task)
    if tokens := TOKENS.search(str(dict.get(row, column))):
        raise DataError(
            f"{column!r} contains tokens such as {tokens[0]!r}, which would be trained as words; remove them"
        )
    columns = {column: "text" if task == ASR else TRANSLATION, "speaker": "speaker"}
    if task == TRANSLATION:
        columns["target_lang"] = "target_language"
        columns |= {"text": "text"} if column == TRANSLATION else {}
    spoken = "source_lang" if source or task == TRANSLATION else "target_lang" if target else "lang"
    return {**columns, spoken: "language"}


def _task(name: object, source: str | None, target: str | None, default: str | None) -> str:
    """Task of a row.

    Args:
        default: spoken language of rows without one.
    """
    if name is None:
        spoken = source or default
        if spoken is None:
            raise DataError(f"target_lang is {target!r} and source_lang is missing; add the spoken language")
        return TRANSLATION if target not in (None, spoken) else ASR
    task = TASK_OF_NAME.get(str(name).lower().strip("<|>"))
    if task is None:
        raise DataError(
            f"the task is {name!r} -- expected one of {sorted(TASK_OF_NAME)}; correct it, or leave the column out with "
            f"an empty label"
        )
    if task == ASR and None not in (source, target) and source != target:
        raise DataError(
            f"the task is {name!r}, but source_lang is {source!r} and target_lang {target!r}; correct them"
        )
    if task == TRANSLATION and (target is None or (source or default) in (None, target)):
        raise DataError(
            f"the task is {name!r}, source_lang {source!r} and target_lang {target!r} -- expected two languages; "
            f"correct them"
        )
    return task


def _column_of_target(row: Row, task: str) -> str:
    """Column of the target. Uses ``dict.get``, so that columns that are not imported stay unread."""
    candidates = ("text", "answer") if task == ASR else (TRANSLATION, "answer", "text")
    texts = {column: str(dict.get(row, column) or "").strip().lower() for column in candidates}
    return next((column for column in candidates if texts[column] not in PLACEHOLDERS), "text")


def _language(row: Row, column: str, options: ImportOptions) -> str | None:
    if not _has(row, column, options):
        return None
    return str(parse_label("language", row.get(column), column))


def _has(row: Row, column: str, options: ImportOptions) -> bool:
    """True if a row has a value in a column that the options do not reassign."""
    return column not in options.columns and dict.get(row, column) not in (None, "")
