"""Evaluation files of Qwen-Audio and Qwen2-Audio: JSONL of ``audio``, ``gt``, ``source``.

A row with ``prompt`` (Qwen2-Audio) is a conversation with one question, a row with ``question`` (audio questions of
Qwen-Audio) is question and answer, any other row is a transcript -- unless the columns give ``gt`` a label. Languages
of translations are in ``source``. If ``gt`` is a list of correct answers, each answer is a separate cut, as in published
corpora; an evaluation groups them again.

Source: QwenLM/Qwen-Audio at b50fb958 and QwenLM/Qwen2-Audio, eval_audio/evaluate_*.py.
"""

from pathlib import Path
from typing import Any

from audio_lm.common.errors import DataError
from audio_lm.common.languages import LANGUAGE_LABELS
from audio_lm.corpora.imports.bad_lines import EmptyRowError
from audio_lm.corpora.imports.common import ImportOptions, Row, for_each_row, resolve_audio_path
from audio_lm.corpora.imports.conversations import (
    append_placeholder,
    build_conversation,
    check_text,
    escape_placeholders,
)
from audio_lm.corpora.imports.labels import LIST_LABELS, check_labels, parse_label
from audio_lm.corpora.imports.writer import ImportWriter

ANSWERS = ("gt", "text")


def read(path: Path, writer: ImportWriter, options: ImportOptions) -> None:
    """Import a file of this format.

    Raises:
        DataError: bad lines, all in one message; or a requested column does not exist in this format.
    """
    check_labels(options)
    if unknown := options.columns.keys() - set(ANSWERS):
        raise DataError(
            f"columns {sorted(unknown)} are not read; only {ANSWERS} can have a label; remove the others"
        )

    def import_row(number: int, row: Row) -> None:
        audio = resolve_audio_path(row.get("audio"), path.parent, options)
        column = next((name for name in ANSWERS if row.get(name) is not None), None)
        if column is None:
            raise DataError(f"the row has none of {ANSWERS}; add the answer")
        cut_id = options.cut_id(number, row.get("id"))
        label = options.columns.get(column, "")
        answers = _answers(row[column], column, label)
        for answer_number, answer in enumerate(answers, start=1):
            labels = {**options.label_language(), **_labels(row, column, label, answer)}
            answer_id = f"{cut_id}-{answer_number}" if len(answers) > 1 else cut_id
            if len(answers) > 1 and "text" in labels:
                raise DataError(
                    f"{column!r} has {len(answers)} transcripts -- expected one; keep the correct one"
                )
            if "conversation" in labels:
                writer.add_conversation(options.subset_split, answer_id, [audio], labels)
            else:
                writer.add(options.subset_split, answer_id, audio, labels)

    for_each_row(path, import_row, writer.notes, bad=writer.bad)


def _answers(value: Any, column: str, label: str) -> list[Any]:
    """Correct answers of a row; a list is one answer if its label is a list."""
    if not isinstance(value, list) or label in LIST_LABELS:
        return [value]
    if not value:
        raise DataError(f"{column!r} is an empty list; add the answer")
    return value


def _labels(row: Row, column: str, label: str, value: Any) -> dict[str, Any]:
    if isinstance(value, str) and not value.strip():
        raise EmptyRowError(f"{column!r} is empty")
    if label == "translation":
        return {**_languages(row), label: parse_label(label, value, column)}
    if label:
        return {label: parse_label(label, value, column)}
    answer = check_text(value, repr(column))
    if row.get("prompt") is not None:
        prompt = append_placeholder("") + escape_placeholders(check_text(row["prompt"], "'prompt'"))
        return {
            "conversation": build_conversation(
                [("user", prompt), ("assistant", escape_placeholders(answer))], 1
            )
        }
    if row.get("question") is not None:
        return {"question": check_text(row["question"], "'question'"), "answer": answer}
    return {"text": answer}


def _languages(row: Row) -> dict[str, str]:
    """Spoken and target language: the third and second last parts of ``source``."""
    parts = str(row.get("source", "")).split("_")
    if len(parts) < 3:
        raise DataError(
            f"'source' is {row.get('source')!r} -- expected the languages of the translation, as in covost2_en_de_test; "
            f"correct it"
        )
    languages = zip(LANGUAGE_LABELS, parts[-3:-1], strict=True)
    return {label: parse_label(label, part, "source") for label, part in languages}
