"""SALMONN's annotations: one JSON object whose list ``annotation`` has ``path``, ``text``, ``task`` and sometimes ``Q``.

SALMONN's prompts for a task are in a separate file. Here the text of a task becomes a label, and the prompts of this
project request it.

Source: bytedance/SALMONN, branch salmonn: dataset.py, data/example_data.json, prompts/train_prompt.json and test_prompt.json.
"""

from pathlib import Path
from typing import Any

from audio_lm.common.errors import DataError
from audio_lm.corpora.imports.bad_lines import EmptyRowError
from audio_lm.corpora.imports.common import ImportOptions, Row, for_each_row, resolve_audio_path
from audio_lm.corpora.imports.conversations import check_text, path_list
from audio_lm.corpora.imports.labels import check_labels, parse_label
from audio_lm.corpora.imports.writer import ImportWriter

SPEAKERS = "speaker_verification"
LABEL_OF_TASK = {
    "asr": "text",
    "asr_zh": "text",
    "asr_de": "text",
    "lyrics_recognition": "text",
    "translation_ec": "translation",
    "translation_en2ja": "translation",
    "translation_en2de": "translation",
    "audiocaption": "caption",
    "audiocaption_v2": "caption",
    "music_description": "caption",
    "emotion_recognition": "emotion",
    "gender_recognition": "gender",
    "QA": "answer",
    "inference_QA": "answer",
    "gender_QA": "answer",
    SPEAKERS: "same_speaker",
}
LANGUAGES_OF_TASK = {
    "asr_zh": {"language": "zh"},
    "asr_de": {"language": "de"},
    "translation_ec": {"language": "en", "target_language": "zh"},
    "translation_en2ja": {"language": "en", "target_language": "ja"},
    "translation_en2de": {"language": "en", "target_language": "de"},
}


def read(path: Path, writer: ImportWriter, options: ImportOptions) -> None:
    """Import a file of this format; the options' columns are tasks and their labels.

    Raises:
        DataError: bad lines, all in one message; or no row has a task that the options give a label.
    """
    check_labels(options)
    label_of_task = {**LABEL_OF_TASK, **options.columns}
    seen: set[str] = set()
    num_left_out = 0

    def import_row(number: int, row: Row) -> None:
        nonlocal num_left_out
        task = str(row.get("task", "asr"))
        seen.add(task)
        if task not in label_of_task:
            raise DataError(
                f"task {task!r} has no label -- expected one of {sorted(LABEL_OF_TASK)}; give it a label as a column, "
                f"or an empty label to leave it out"
            )
        if not label_of_task[task]:
            num_left_out += 1
            row.skip()
            return
        audio = resolve_audio_path(row.get("path"), path.parent, options)
        more = [
            resolve_audio_path(audio_file, path.parent, options)
            for audio_file in path_list(row.get("expand_wav"), "expand_wav")
        ]
        if len(more) != (task == SPEAKERS):
            raise DataError(
                f"expand_wav has {len(more)} files -- expected one for {SPEAKERS!r} and none for other tasks; "
                f"remove the row"
            )
        labels = {**options.label_language(), **_labels(row, task, label_of_task[task])}
        writer.add(options.subset_split, options.cut_id(number), audio, labels, more_audio=more)

    for_each_row(path, import_row, writer.notes, key="annotation", bad=writer.bad)
    if missing := options.columns.keys() - seen:
        raise DataError(
            f"{path}: no row has the tasks {sorted(missing)}; the rows have {sorted(seen)}; correct the columns"
        )
    if num_left_out:
        writer.notes.append(f"{num_left_out} rows of tasks without a label were left out")


def _labels(row: Row, task: str, label: str) -> dict[str, Any]:
    text = check_text(row.get("text"), "'text'")
    if not text.strip():
        raise EmptyRowError("'text' is empty")
    labels: dict[str, Any] = {**LANGUAGES_OF_TASK.get(task, {})}
    if label == "answer":
        question = check_text(row.get("Q"), "'Q'")
        if not question:
            raise DataError("'Q' is empty -- expected the question that 'text' answers; add it")
        labels["question"] = question
    labels[label] = parse_label(label, text.lower() if label == "same_speaker" else text, "text")
    return labels
