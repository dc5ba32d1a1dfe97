"""The evaluation files of Qwen-Audio and Qwen2-Audio: JSONL of ``audio``, ``gt``, ``source``.

A row with ``prompt`` (Qwen2-Audio) is a conversation of one question, one with ``question`` (Qwen-Audio's
audio questions) is question and answer, any other is a transcript -- unless the columns say which
label ``gt`` is. For translations the languages stand in ``source``.

Source: QwenLM/Qwen-Audio at b50fb958 and QwenLM/Qwen2-Audio, eval_audio/evaluate_*.py.
"""

from pathlib import Path
from typing import Any

from audio_lm.corpora.imports.common import ImportOptions, Row, audio_path, each_row
from audio_lm.corpora.imports.conversations import conversation_of, escaped, text_of, with_place
from audio_lm.corpora.imports.labels import check_labels, label_value
from audio_lm.corpora.imports.writer import ImportWriter
from audio_lm.errors import DataError

ANSWERS = ("gt", "text")


def read(path: Path, writer: ImportWriter, options: ImportOptions) -> None:
    """Import a file of this format.

    Raises:
        DataError: bad lines, all of them in one message; or a column was asked for that no row can have.
    """
    check_labels(options)
    if strangers := options.columns.keys() - set(ANSWERS):
        raise DataError(f"columns {sorted(strangers)} are not read here; only {ANSWERS} can be given a label")

    def take(line: int, row: Row) -> None:
        audio = audio_path(row.get("audio"), path.parent, options)
        column = next((one for one in ANSWERS if row.get(one) is not None), None)
        if column is None:
            raise DataError(f"the row has none of {ANSWERS}; write what the answer should be")
        cut_id = options.cut_id(line, row.get("id"))
        labels = {**options.label_language(), **_labels(row, column, options.columns.get(column, ""))}
        if "conversation" in labels:
            writer.add_conversation(options.subset_split, cut_id, [audio], labels)
        else:
            writer.add(options.subset_split, cut_id, audio, labels)

    each_row(path, take)


def _labels(row: Row, column: str, label: str) -> dict[str, Any]:
    if label == "translation":
        return {**_languages(row), label: label_value(label, row[column], column)}
    if label:
        return {label: label_value(label, row[column], column)}
    answer = text_of(row[column], repr(column))
    if row.get("prompt") is not None:
        prompt = with_place("") + escaped(text_of(row["prompt"], "'prompt'"))
        return {"conversation": conversation_of([("user", prompt), ("assistant", escaped(answer))], 1)}
    if row.get("question") is not None:
        return {"question": text_of(row["question"], "'question'"), "answer": answer}
    return {"text": answer}


def _languages(row: Row) -> dict[str, str]:
    """Spoken and written language, third and second from the end of ``source``."""
    parts = str(row.get("source", "")).split("_")
    if len(parts) < 3:
        raise DataError(
            f"'source' is {row.get('source')!r} -- a translation's names its languages, such as covost2_en_de_test; "
            f"correct it"
        )
    return {"language": parts[-3], "target_language": parts[-2]}
