"""Build Lhotse cuts from checked manifest lines.

Lhotse's own deserializer builds every object in a line (features, arrays, images, impulse responses), and opens files or
runs commands for some of them. Here only checked fields are built. Custom fields stay plain data unless they are
the recording of a further clip.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lhotse import AudioSource, MonoCut, MultiCut, Recording, SupervisionSegment
from lhotse.augmentation import AudioTransform
from lhotse.cut import Cut
from lhotse.cut.data import DataCut
from lhotse.supervision import AlignmentItem

from audio_lm.common.audio_units import Seconds
from audio_lm.data.audio.decode import TOLERANCE
from audio_lm.data.manifest.json_lines import parse_line
from audio_lm.data.manifest.line import check_cut, clip_fields, recording_fields


def read_cut(text: bytes, *, roots: Sequence[Path] = ()) -> Cut:
    """Parse and check a line, and build its cut.

    Raises:
        InvalidLineError: the line is invalid.
    """
    table = parse_line(text)
    check_cut(table, roots)
    return build_cut(table)


def build_cut(table: dict[str, Any]) -> DataCut:
    """Build the cut of a parsed and checked line."""
    custom, recording = table.get("custom"), table.get("recording")
    if custom and recording is not None:
        custom = {**custom, **{name: _recording(custom[name]) for name in recording_fields(custom)}}
    kind = MultiCut if table.get("type") == "MultiCut" else MonoCut
    return kind(
        id=table["id"],
        start=table.get("start", 0.0),
        duration=table["duration"],
        channel=table.get("channel", 0),
        supervisions=[_supervision(supervision, table["id"]) for supervision in table["supervisions"]],
        recording=None if recording is None else _recording(recording),
        custom=custom or None,
    )


class CutFacts:
    """Fields of a cut that determine its labels and the lengths of its clips.

    Built in a fifth of the time of a cut, because millions of rows are measured. The line is not checked again, so
    recordings have neither sources nor transforms and cannot load anything.
    """

    def __init__(self, table: Mapping[str, Any]) -> None:
        """Take the fields of a line that was checked when its index was compiled.

        Raises:
            KeyError: the line has changed since then.
        """
        self.id = table["id"]
        self.start = table.get("start", 0.0)
        self.duration = table["duration"]
        self.supervisions = [_supervision(supervision, self.id) for supervision in table["supervisions"]]
        self.has_recording = table.get("recording") is not None
        self.custom = custom = table.get("custom") or {}
        self._table = table
        if custom and self.has_recording:
            self.custom = {**custom, **{name: _length_only(custom[name]) for name in clip_fields(custom)}}

    @property
    def recording(self) -> Recording:
        """Recording of clip 1; labels use its id."""
        return _length_only(self._table["recording"])

    @property
    def recording_tables(self) -> list[Mapping[str, Any]]:
        """The recording of each clip as in the line, with sources and transforms; empty for a text-only cut."""
        if not self.has_recording:
            return []
        custom = self._table.get("custom") or {}
        return [self._table["recording"], *(custom[name] for name in clip_fields(custom))]

    @property
    def channel(self) -> int | Sequence[int]:
        """Channel or channels of clip 1."""
        channel: int | Sequence[int] = self._table.get("channel", 0)
        return channel


def _length_only(table: Mapping[str, Any]) -> Recording:
    fields = {key: table[key] for key in ("id", "sampling_rate", "num_samples")}
    return Recording(sources=[], channel_ids=[0], duration=_seconds(table), **fields)


def _seconds(table: Mapping[str, Any]) -> Seconds:
    """Length of a recording: its ``duration``, unless that contradicts ``num_samples``, which the schedule uses."""
    stated, counted = table["duration"], table["num_samples"] / table["sampling_rate"]
    return stated if abs(stated - counted) <= TOLERANCE else counted


def _recording(table: Mapping[str, Any]) -> Recording:
    transforms = table.get("transforms")
    return Recording(
        id=table["id"],
        sources=[
            AudioSource(source["type"], source["channels"], source["source"]) for source in table["sources"]
        ],
        sampling_rate=table["sampling_rate"],
        num_samples=table["num_samples"],
        duration=_seconds(table),
        transforms=None if transforms is None else list(map(AudioTransform.from_dict, transforms)),
    )


def _supervision(table: Mapping[str, Any], cut_id: str) -> SupervisionSegment:
    words = (table.get("alignment") or {}).get("word")
    # Lhotse's constructor spends nine tenths of its time in a __setattr__ that inspects every field.
    supervision = SupervisionSegment.__new__(SupervisionSegment)
    vars(supervision).update(
        id=table.get("id", cut_id),
        recording_id=table.get("recording_id", cut_id),
        start=table.get("start", 0.0),
        duration=table["duration"],
        channel=table.get("channel", 0),
        text=table.get("text"),
        language=table.get("language"),
        speaker=table.get("speaker"),
        gender=table.get("gender"),
        custom=table.get("custom"),
        alignment=None
        if words is None
        else {"word": [AlignmentItem(*(word.values() if type(word) is dict else word)) for word in words]},
    )
    return supervision
