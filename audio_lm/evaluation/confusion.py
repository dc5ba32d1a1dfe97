"""Confusion table of a benchmark of labels: rows are the references, columns the answers."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torchmetrics.functional.classification import multiclass_confusion_matrix

from audio_lm.evaluation.majority import is_of_labels
from audio_lm.evaluation.predict import Prediction
from audio_lm.metrics.labels import label_of

MAX_LABELS = 50
"""Rows of a table; rarer labels are counted in one row together."""

MIN_CLIPS_OF_LABEL = 2  # on average; with fewer the references are sentences rather than labels
RARE, OTHER = "(rarer labels)", "(other answer)"
EXACT = "acc"  # compares whole answers


@dataclass(frozen=True)
class ConfusionTable:
    """Numbers of clips by label of the reference and label of the answer."""

    labels: tuple[str, ...]
    """References, the most frequent first."""

    answers: tuple[str, ...]
    """The labels, and ``OTHER`` where an answer is none of them."""

    counts: tuple[tuple[int, ...], ...]
    """One row per label, one column per answer."""

    def rows(self) -> list[list[str]]:
        """Cells of the table, with a heading and the number of clips of each label."""
        heading = ["reference", *self.answers, "clips"]
        return [
            heading,
            *(
                [label, *map(str, row), str(sum(row))]
                for label, row in zip(self.labels, self.counts, strict=True)
            ),
        ]

    def as_csv(self) -> str:
        """The table as CSV."""
        return csv_of(self.rows())


def csv_of(rows: Iterable[Sequence[str]]) -> str:
    """Rows as CSV, with line feeds."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def confusion_table(predictions: Sequence[Prediction], metrics: Sequence[str]) -> ConfusionTable | None:
    """Count the answers to each label; None for a benchmark without label metrics, or whose references are no labels.

    Labels are whole texts where the metric ``acc`` compares them, else as the other metrics normalize them. A question
    with several references has no single label, so its benchmark has no table.
    """
    if not is_of_labels(metrics) or any(len(prediction.references) > 1 for prediction in predictions):
        return None
    normalize = str.strip if EXACT in metrics else label_of
    references = [normalize(prediction.reference) for prediction in predictions]
    known = [label for label, _ in sorted(Counter(references).items(), key=lambda item: (-item[1], item[0]))]
    if not known or len(known) * MIN_CLIPS_OF_LABEL > len(references):
        return None
    labels = known if len(known) <= MAX_LABELS else [*known[: MAX_LABELS - 1], RARE]
    index_of = {label: min(index, len(labels) - 1) for index, label in enumerate(known)}
    other = len(labels)
    answers = [index_of.get(normalize(prediction.answer), other) for prediction in predictions]
    counts_CC = multiclass_confusion_matrix(
        torch.tensor(answers), torch.tensor([index_of[label] for label in references]), num_classes=other + 1
    )
    names = (*labels, OTHER) if other in answers else tuple(labels)
    table = counts_CC[:other, : len(names)].tolist()
    return ConfusionTable(tuple(labels), names, tuple(tuple(row) for row in table))
