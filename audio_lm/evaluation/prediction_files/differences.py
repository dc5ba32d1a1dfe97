"""The difference between an official number and a clean one, in one line."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from audio_lm.evaluation.predict import Prediction
from audio_lm.evaluation.prediction_files.rows import FileBenchmark, FileRow
from audio_lm.evaluation.score import references_of
from audio_lm.metrics.registry import find_metric

REASONS = {
    "acc_mmau": "the script compares words, so that a letter alone is wrong",
    "acc_airbench": "the script reads the first or the second to last character, and leaves out answers without A to D there",
    "acc_lmms_eval": "lmms-eval reads capital letters only, and draws one at random (seed 0) where it finds none",
    "acc_lmms_eval_letter": "lmms-eval reads capital letters only, and draws one at random (seed 0) where it finds none",
    "acc_lmms_eval_mmar": "lmms-eval reads capital letters only, and draws one at random (seed 0) where it finds none",
    "wer_qwen_audio": "the script keeps punctuation and the form of numbers",
    "wer_qwen2_audio": "the script also equates British and American spellings, and splits words at apostrophes",
    "wer_kimi_audio": "the script also equates spellings, and splits texts by sacrebleu's tokenizer for Chinese",
    "wer_ultraeval": "the script applies Whisper's English normalizer to every language",
    "bleu_qwen_audio": "the script keeps tags",
    "wer_nemo": "NeMo compares the texts as they are, with case and punctuation",
    "acc": "the script compares whole texts, with case and punctuation",
}
"""Metric -> how its result differs from the clean one."""


@dataclass(frozen=True)
class NumberOfFile:
    """One number."""

    name: str
    """Name of a metric, or of a number that the file records."""

    value: float
    num_rows: int
    is_official: bool
    is_recorded: bool = False
    interval: tuple[float, float] | None = None
    """95 % bootstrap interval; None if it is undefined, or the number is recorded."""

    units: str = ""
    """Number and kind of the units that were resampled, such as ``40 speakers``."""


def predictions_of(name: str, rows: Sequence[FileRow]) -> list[Prediction]:
    """Rows as predictions; a missing one as an empty answer."""
    return [
        Prediction(
            id=row.id,
            task=name,
            references=row.references,
            answer=row.answer or "",
            language=row.language,
            choices=row.choices or None,
            speaker=row.speaker,
            path=row.recording,
        )
        for row in rows
    ]


def difference(benchmark: FileBenchmark, rows: Sequence[FileRow], numbers: Sequence[NumberOfFile]) -> str:
    """Line about the difference between the first official number and the first clean one; empty if there is none."""
    official = next((one for one in numbers if one.is_official and not one.is_recorded), None)
    clean = next((one for one in numbers if not one.is_official), None)
    if official is None or clean is None or official.name not in REASONS:
        return ""
    kept = {one.metric: one for one in benchmark.official}[official.name]
    changed = _changed(rows, official.name, clean.name, leaves_out_missing=kept.leaves_out_missing)
    if not changed:
        return f"{official.name} and {clean.name} are equal in every row"
    return (
        f"{official.name} and {clean.name} differ in {changed} of {len(rows)} rows: {REASONS[official.name]}"
    )


def _changed(rows: Sequence[FileRow], official: str, clean: str, *, leaves_out_missing: bool) -> int:
    """Rows with another result in the one than in the other."""
    missing = [row for row in rows if row.answer is None and leaves_out_missing]
    kept = [row for row in rows if row.answer is not None or not leaves_out_missing]
    results = zip(_results(official, kept), _results(clean, kept), strict=True)
    return len(missing) + sum(ours != theirs for ours, theirs in results)


def _results(name: str, rows: Sequence[FileRow]) -> Iterator[Any]:
    """Result of each row, such as hits and clips, or edits and words."""
    from audio_lm.metrics.choices import LmmsEvalAccuracy
    from audio_lm.metrics.clip_metric import SumMetric

    metric_row = find_metric(name)
    metric = metric_row.build(sync_on_compute=False)
    predictions = predictions_of("", rows)
    for row, reference in zip(predictions, references_of(predictions, metric_row), strict=True):
        if isinstance(metric, LmmsEvalAccuracy):
            yield metric.result(row.answer, reference)
        elif isinstance(metric, SumMetric):
            yield metric.count(row.answer, reference, row.language)
        else:
            yield None
