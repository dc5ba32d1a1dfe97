"""Labels as a Lhotse supervision; what each label may contain is checked in ``data/manifest``."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lhotse import Recording, SupervisionSegment
from lhotse.supervision import AlignmentItem
from lhotse.utils import fastcopy

from audio_lm.common.audio_units import Seconds
from audio_lm.tasks.labels import LABELS, RECORDING_START

SUPERVISION_FIELDS = (
    "text",
    "language",
    "speaker",
)  # written to fields of Lhotse; other labels to ``custom``


def check_label_names(cut_id: str, names: Iterable[str]) -> None:
    """Check that all labels of a cut exist.

    Raises:
        ValueError: names the unknown ones.
    """
    if unknown := set(names) - LABELS.keys():
        raise ValueError(f"cut {cut_id!r}: {sorted(unknown)} are no labels; there are {sorted(LABELS)}")


def supervision_of(
    cut_id: str,
    seconds: float,
    labels: Mapping[str, Any],
    units: Sequence[tuple[str, float, float]] | None,
) -> SupervisionSegment:
    """The labels of a clip as a supervision; times of words count from the clip's start, see ``in_recording``."""
    words = [
        AlignmentItem(symbol=symbol, start=round(start, 4), duration=round(end - start, 4))
        for symbol, start, end in units or ()
    ]
    return SupervisionSegment(
        id=cut_id,
        recording_id=cut_id,
        start=0.0,
        duration=seconds,
        channel=0,
        text=labels.get("text"),
        language=labels.get("language"),
        speaker=labels.get("speaker"),
        alignment={"word": words} if units is not None else None,
        custom={key: value for key, value in labels.items() if key not in SUPERVISION_FIELDS} or None,
    )


def in_recording(supervision: SupervisionSegment, recording: Recording, start: Seconds) -> SupervisionSegment:
    """The same supervision with times of words from the start of the recording, as Lhotse counts them.

    Args:
        start: of the clip in its recording.
    """
    shifted = fastcopy(supervision, recording_id=recording.id)
    if supervision.alignment and start:
        words = supervision.alignment["word"]
        shifted.alignment = {"word": [word._replace(start=round(word.start + start, 8)) for word in words]}
        shifted.custom = {**(supervision.custom or {}), RECORDING_START: start}
    return shifted
