"""Files of benchmarks with choices, as their publishers' scripts read them: MMAU, MMAR, MMAU-Pro, AIR-Bench foundation.

Source: MMAU evaluation.py at 110127f, MMAR code/evaluation.py at 3bce090, MMAU-Pro
evaluate_mmau_pro_comprehensive.py at 960e93a, AIR-Bench score_foundation.py at 9832476.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from audio_lm.common.errors import DataError
from audio_lm.evaluation.prediction_files.format import (
    FileFormat,
    ReadOptions,
    check_predictions,
    group_rows,
)
from audio_lm.evaluation.prediction_files.records import Record
from audio_lm.evaluation.prediction_files.rows import (
    FileBenchmark,
    FileRow,
    Official,
    choices_of,
    required_text,
    text_field,
)

CLEAN = ("acc_choice", "choice_unclear")
WITHOUT_CHOICES = ("open", "instruction following")  # categories of MMAU-Pro that have another score
AIRBENCH_CHOICES = ("choice_a", "choice_b", "choice_c", "choice_d")


def read_mmau(records: Sequence[Record], options: ReadOptions) -> list[FileBenchmark]:
    """Read the file of MMAU with answers in ``model_output``."""
    return _matched_by_words(records, options, key="model_output", group="split")


def read_mmar(records: Sequence[Record], options: ReadOptions) -> list[FileBenchmark]:
    """Read the file of MMAR with answers in ``answer_prediction``."""
    return _matched_by_words(records, options, key="answer_prediction", group="")


def _matched_by_words(
    records: Sequence[Record], options: ReadOptions, *, key: str, group: str
) -> list[FileBenchmark]:
    """Benchmarks of MMAU's script, which skips rows without the key of the prediction."""
    check_predictions(options, records, key)
    rows = [
        (
            text_field(fields, group) or "all" if group else "all",
            FileRow(
                place=place,
                id=required_text(place, fields, "id"),
                references=_reference(fields),
                answer=text_field(fields, key),
                choices=choices_of(place, fields.get("choices")),
                language="en",
            ),
        )
        for place, fields in records
    ]
    official = (Official("acc_mmau", leaves_out_missing=True),)
    return [
        FileBenchmark(name, kept, official=official, clean=CLEAN, prediction_key=key)
        for name, kept in group_rows(rows).items()
    ]


def _reference(fields: Mapping[str, Any], key: str = "answer") -> tuple[str, ...]:
    """Reference answer; none if the publisher withholds it, as for MMAU's large test set."""
    answer = text_field(fields, key)
    return () if answer is None or not answer.strip() else (answer,)


def read_mmau_pro(records: Sequence[Record], options: ReadOptions) -> list[FileBenchmark]:
    """Read the closed questions of MMAU-Pro's file with answers in ``model_output``, by category."""
    check_predictions(options, records, "model_output")
    rows = []
    for place, fields in records:
        choices = fields.get("choices")
        if fields.get("category") in WITHOUT_CHOICES or not choices or len(choices) < 2:
            continue
        row = FileRow(
            place=place,
            id=required_text(place, fields, "id"),
            references=_reference(fields),
            answer=text_field(fields, "model_output"),
            choices=choices_of(place, choices),
            language="en",
        )
        rows.append((required_text(place, fields, "category"), row))
    if not rows:
        raise DataError(
            f"{options.path}: no row has choices -- expected the closed questions of MMAU-Pro -- its open questions need a "
            f"model that scores them, and are not read here"
        )
    reason = "its script compares embeddings of the model NV-Embed-v2, and no rule does the same"
    return [
        FileBenchmark(
            name,
            kept,
            clean=CLEAN,
            prediction_key="model_output",
            not_computed={"MMAU-Pro's accuracy": reason},
        )
        for name, kept in group_rows(rows).items()
    ]


def read_airbench(records: Sequence[Record], options: ReadOptions) -> list[FileBenchmark]:
    """Read the answers to the foundation part of AIR-Bench, by task and data set, as its script groups them."""
    check_predictions(options, records, "response")
    rows = []
    for number, (place, fields) in enumerate(records):
        choices = tuple(text for key in AIRBENCH_CHOICES if (text := text_field(fields, key)))
        row = FileRow(
            place=place,
            # ``uniq_id`` is that of the data page; results of other inference scripts may lack it.
            id=text_field(fields, "uniq_id") or str(number),
            references=_reference(fields, "answer_gt"),
            answer=text_field(fields, "response"),
            choices=choices_of(place, list(choices)),
            language="en",
        )
        group = [text_field(fields, key) or "" for key in ("task_name", "dataset_name")]
        rows.append(("_".join(filter(None, group)), row))
    official = (Official("acc_airbench"),)
    return [
        FileBenchmark(name, kept, official=official, clean=CLEAN, prediction_key="response")
        for name, kept in group_rows(rows).items()
    ]


FORMATS = (
    FileFormat(
        "airbench",
        "AIR-Bench, foundation part",
        frozenset({"choice_a", "choice_b", "answer_gt"}),
        read_airbench,
    ),
    FileFormat("mmau", "MMAU", frozenset({"audio_id", "choices", "task", "difficulty"}), read_mmau),
    FileFormat("mmar", "MMAR", frozenset({"choices", "modality", "category"}), read_mmar),
    FileFormat(
        "mmau_pro",
        "MMAU-Pro",
        frozenset({"question", "choices", "category"}),
        read_mmau_pro,
        any_of=frozenset(
            {"task_identifier", "length_type", "perceptual_skills", "reasoning_skills", "transcription"}
        ),
        never=frozenset({"modality", "audio_id"}),
    ),
)
