"""Dummy labels that satisfy every task, for previews and tests."""

from typing import Any

from audio_lm.tasks.labels import LABELS, dummy_values
from audio_lm.tasks.task import Task

DUMMY_LABELS: dict[str, Any] = {
    name: label.dummy for name, label in LABELS.items() if label.dummy is not None and label.kind != "turns"
}


def labels_for(task: Task) -> dict[str, Any]:
    """Dummy labels in a language that the task accepts."""
    return {**DUMMY_LABELS, **dummy_values(task.needs), "language": task.language or "en"}
