"""Logs of evaluation toolkits that record a result per row: samples of lmms-eval, and UltraEval-Audio.

Source: lmms-eval, lmms_eval/loggers/evaluation_tracker.py and tasks/ at 75571cf; UltraEval-Audio, audio_evals/recorder.py,
eval_task.py and agg/base.py at 9b69da6.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from audio_lm.common.errors import DataError
from audio_lm.evaluation.prediction_files.choice_sets import CLEAN as CHOICE_METRICS
from audio_lm.evaluation.prediction_files.format import FileFormat, ReadOptions
from audio_lm.evaluation.prediction_files.records import Record
from audio_lm.evaluation.prediction_files.rows import (
    FileBenchmark,
    FileRow,
    Official,
    lettered_choices,
    required_text,
    text_field,
)

OUTPUTS = ("inference", "post_process")


def read_lmms_eval(records: Sequence[Record], options: ReadOptions) -> list[FileBenchmark]:
    """Read the samples of one task of lmms-eval, in the order of its documents."""
    fields = records[0].fields
    if "wer" in fields:
        return [_lmms_transcripts(records, options)]
    if "mmar_accuracy" in fields:
        return [_lmms_choices(records, "mmar", "acc_lmms_eval_mmar", "mmar_accuracy", "score")]
    accuracy = fields.get("accuracy")
    if isinstance(accuracy, dict) and "overall" in accuracy and "task" in accuracy:
        return [_lmms_choices(records, "mmau", "acc_lmms_eval", "accuracy", "overall")]
    if isinstance(accuracy, dict) and "score" in accuracy:
        return [_lmms_choices(records, "air_bench_foundation", "acc_lmms_eval_letter", "accuracy", "score")]
    known = "MMAU, MMAR, AIR-Bench foundation and speech recognition"
    raise DataError(
        f"{options.path}: samples of a task with the results {sorted(fields.keys() - _LMMS_KEYS)} -- expected {known} of "
        f"lmms-eval -- scores of other tasks need a model that grades answers, or are not known here"
    )


_LMMS_KEYS = frozenset(
    [
        "doc_id",
        "target",
        "filtered_resps",
        "resps",
        "doc_hash",
        "token_counts",
        "input",
        "input_media",
        "submission",
    ]
)


def _lmms_choices(records: Sequence[Record], name: str, metric: str, key: str, score: str) -> FileBenchmark:
    rows = []
    for place, fields in records:
        choices = lettered_choices(text_field(fields, "input") or "")
        if not choices:
            raise DataError(
                f"{place}: its 'input' lists no choices A., B., ... -- expected the prompt of {name} -- run lmms-eval with "
                f"--log_samples"
            )
        recorded = fields.get(key)
        rows.append(
            FileRow(
                place=place,
                id=required_text(place, fields, "doc_id"),
                references=(required_text(place, fields, "target"),),
                answer=_response(place, fields),
                choices=tuple(choices),
                language="en",
                recorded=float(recorded[score]) if isinstance(recorded, dict) and score in recorded else None,
            )
        )
    return FileBenchmark(
        name,
        rows,
        official=(Official(metric),),
        clean=CHOICE_METRICS,
        prediction_key="filtered_resps",
        recorded_name="accuracy in the samples",
    )


def _lmms_transcripts(records: Sequence[Record], options: ReadOptions) -> FileBenchmark:
    rows = []
    for place, fields in records:
        pair = fields.get("wer")
        if not isinstance(pair, dict) or "gt" not in pair or "pred" not in pair:
            raise DataError(
                f"{place}: no 'wer' with 'gt' and 'pred' -- expected samples of one task -- repair it"
            )
        rows.append(
            FileRow(
                place=place,
                id=required_text(place, fields, "doc_id"),
                references=(required_text(place, pair, "gt"),),
                answer=text_field(pair, "pred"),
                language=str(pair.get("task") or "")[4:] or options.language,  # such as asr_en
            )
        )
    return FileBenchmark(
        "asr", rows, official=(Official("wer_qwen2_audio"),), clean=("wer_spoken",), prediction_key="wer.pred"
    )


def _response(place: str, fields: Mapping[str, Any]) -> str | None:
    """Filtered response of a generation; a list with one text in files of some releases."""
    value = fields.get("filtered_resps")
    while isinstance(value, list) and value:
        value = value[0]
    if value is not None and not isinstance(value, str):
        raise DataError(
            f"{place}: 'filtered_resps' is no text -- expected a generated answer -- tasks of likelihoods are not read"
        )
    return value


def read_ultraeval(records: Sequence[Record], options: ReadOptions) -> list[FileBenchmark]:
    """Read the record file of UltraEval-Audio: lines of prompts, outputs and results of each question."""
    data_of: dict[str, dict[str, Any]] = {}
    place_of: dict[str, str] = {}
    for place, fields in records:
        number, kind = required_text(place, fields, "id"), required_text(place, fields, "type")
        if kind in data_of.setdefault(number, {}):
            raise DataError(
                f"{place}: a second {kind!r} of id {number!r} -- expected one per question -- give the file of one run"
            )
        data_of[number][kind] = fields.get("data") or {}
        place_of.setdefault(number, place)
    results = [data["eval"] for data in data_of.values() if data.get("eval")]
    if not results:
        raise DataError(
            f"{options.path}: no line of type 'eval', the only one with references -- run the evaluation of the toolkit"
        )
    rows = [_ultraeval_row(place_of[number], number, data, options) for number, data in data_of.items()]
    return [_ultraeval_benchmark(rows, results[0], options)]


def _ultraeval_row(place: str, number: str, data: Mapping[str, Any], options: ReadOptions) -> FileRow:
    result = data.get("eval") or {}
    output = data.get("post_process") or data.get("inference") or {}
    reference = text_field(result, "ref")
    match = result.get("match", result.get("acc"))
    choices = tuple(lettered_choices(_prompt_text(data.get("prompt") or {})))
    if reference is None and choices:
        # The file has no reference of a question that failed. It has no answer either, so it is wrong for any reference.
        reference = choices[0]
    return FileRow(
        place=place,
        id=number,
        references=() if reference is None else (reference,),
        answer=text_field(output, "content") if result else None,
        choices=choices,
        language="zh" if "cer%" in result else options.language,
        recorded=float(match) if isinstance(match, int | float) else None,
    )


def _prompt_text(prompt: Mapping[str, Any]) -> str:
    """Texts of a prompt: turns, each with a list of contents."""
    content = prompt.get("content")
    turns = content if isinstance(content, list) else [{"contents": [{"type": "text", "value": content}]}]
    parts = [part for turn in turns if isinstance(turn, dict) for part in turn.get("contents") or ()]
    return "\n".join(str(part.get("value")) for part in parts if part.get("type") == "text")


def _ultraeval_benchmark(
    rows: Sequence[FileRow], result: Mapping[str, Any], options: ReadOptions
) -> FileBenchmark:
    if options.metrics:
        return FileBenchmark("task", rows, clean=options.metrics, prediction_key="eval")
    if "wer%" in result or "cer%" in result:
        official = (Official("wer_ultraeval", leaves_out_missing=True),)
        return FileBenchmark("task", rows, official=official, clean=("wer_spoken",), prediction_key="eval")
    if "match" not in result and "acc" not in result:
        raise DataError(
            f"{options.path}: results with the keys {sorted(result)} -- expected 'wer%', 'cer%', 'match' or 'acc' -- name the "
            f"metrics, such as --metrics bleu"
        )
    has_choices = all(row.choices for row in rows)
    return FileBenchmark(
        "task",
        rows,
        clean=CHOICE_METRICS if has_choices else ("acc_loose",),
        prediction_key="eval",
        recorded_name="match in the file",
    )


FORMATS = (
    FileFormat("ultraeval", "UltraEval-Audio", frozenset({"type", "id", "data"}), read_ultraeval),
    FileFormat(
        "lmms_eval", "lmms-eval samples", frozenset({"doc_id", "target", "filtered_resps"}), read_lmms_eval
    ),
)
