"""Place of each clip of a cut: file, start, duration and channels, without opening the file."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lhotse.cut import Cut

from audio_lm.common.audio_units import Seconds
from audio_lm.data.manifest.cuts import recordings_of
from audio_lm.data.manifest.lhotse_cut import CutFacts

KEEPS_SAMPLES = "Resample"
"""The only transform whose input decides whether two clips are equal; others make different audio on purpose."""


class ClipPlace(NamedTuple):
    """Place of a clip in an audio file."""

    path: str
    """Audio file, or a byte range of a tar."""

    start: Seconds
    duration: Seconds
    channels: tuple[int, ...]

    @property
    def end(self) -> Seconds:
        """End of the clip in the file."""
        return self.start + self.duration


def places_of(cut: Cut | CutFacts) -> list[ClipPlace | None]:
    """Place of each clip of a cut; None where its audio is in memory or changed by a transform."""
    if isinstance(cut, CutFacts):
        tables = cut.recording_tables
    elif cut.has_recording:
        recordings = [cut.recording, *(cut.custom[name] for name in recordings_of(cut))]
        tables = [recording.to_dict() for recording in recordings]
    else:
        tables = []
    channel: Any = cut.channel if tables else 0
    channels = (channel,) if isinstance(channel, int) else tuple(channel)
    return [
        _place(table, cut.start, cut.duration, channels) if number == 0 else _place(table)
        for number, table in enumerate(tables)
    ]


def _place(
    table: Mapping[str, Any],
    start: Seconds = 0.0,
    duration: Seconds | None = None,
    channels: Sequence[int] = (0,),
) -> ClipPlace | None:
    sources, transforms = table["sources"], table.get("transforms") or ()
    if len(sources) != 1 or sources[0]["type"] not in ("file", "shar"):
        return None
    if any(transform["name"] != KEEPS_SAMPLES for transform in transforms):
        return None
    whole = table["num_samples"] / table["sampling_rate"]
    return ClipPlace(sources[0]["source"], start, whole if duration is None else duration, tuple(channels))
