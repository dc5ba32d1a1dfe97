"""Curves of a stage, read from its metrics file."""

from collections import defaultdict
from pathlib import Path

from audio_lm.tracking.event_log.journal import VALUES, points_of, read_events


def read_curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values of every metric in the folder of a stage; of a step that was logged twice, the last value.

    Returns:
        Metric -> pairs of step and value, steps ascending; empty where nothing was logged.
    """
    value_of: dict[str, dict[int, float]] = defaultdict(dict)
    path = folder / VALUES
    for line in read_events(path) if path.is_file() else ():
        if "values" not in line.record:
            continue
        for point in points_of(line.record):
            value_of[point.name][point.step] = point.value
    return {name: sorted(values.items()) for name, values in value_of.items()}
