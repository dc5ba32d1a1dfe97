"""Lines of manifests as Lhotse's cuts, built of what was checked and of nothing else.

Lhotse's own reader builds whatever a line names (features, arrays, images, impulse responses), and opens files or runs
commands for some of it. Here keys that are not used are never built, and what a custom field holds stays plain data
unless it is the recording of a further clip.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lhotse import AudioSource, MonoCut, MultiCut, Recording, SupervisionSegment
from lhotse.augmentation import AudioTransform
from lhotse.cut import Cut
from lhotse.supervision import AlignmentItem

from audio_lm.common.audio_units import Seconds
from audio_lm.data.audio.decode import TOLERANCE
from audio_lm.data.manifest.json_lines import parse_line
from audio_lm.data.manifest.line import check_cut, clip_fields, recording_fields


def read_cut(text: bytes, *, roots: Sequence[Path] = ()) -> Cut:
    """The cut of a line that keeps the contract.

    Raises:
        InvalidLineError: it does not.
    """
    table = parse_line(text)
    check_cut(table, roots)
    return _cut(table)


def _cut(table: dict[str, Any]) -> Cut:
    custom, recording = table.get("custom"), table.get("recording")
    if custom and recording is not None:
        custom = {**custom, **{name: _recording(custom[name]) for name in recording_fields(custom)}}
    kind = MultiCut if table.get("type") == "MultiCut" else MonoCut
    return kind(
        id=table["id"],
        start=table.get("start", 0.0),
        duration=table["duration"],
        channel=table.get("channel", 0),
        supervisions=[_supervision(one, table["id"]) for one in table["supervisions"]],
        recording=None if recording is None else _recording(recording),
        custom=custom or None,
    )


class CutFacts:
    """The fields of a cut that its labels and the lengths of its clips follow from.

    Costs a fifth of a cut, for millions of rows are measured. Its line is not checked again, so nothing is built that
    could load anything: recordings have neither sources nor transforms.
    """

    def __init__(self, table: Mapping[str, Any]) -> None:
        """Take the fields of a line that was checked once.

        Raises:
            KeyError: it is another line now.
        """
        self.id = table["id"]
        self.start = table.get("start", 0.0)
        self.duration = table["duration"]
        self.supervisions = [_supervision(one, self.id) for one in table["supervisions"]]
        self.has_recording = table.get("recording") is not None
        self.custom = custom = table.get("custom") or {}
        self._table = table
        if custom and self.has_recording:
            self.custom = {**custom, **{name: _only_length(custom[name]) for name in clip_fields(custom)}}

    @property
    def recording(self) -> Recording:
        """The recording of clip 1, of which labels use the id."""
        return _only_length(self._table["recording"])


def _only_length(table: Mapping[str, Any]) -> Recording:
    known = {key: table[key] for key in ("id", "sampling_rate", "num_samples")}
    return Recording(sources=[], channel_ids=[0], duration=_seconds(table), **known)


def _seconds(table: Mapping[str, Any]) -> Seconds:
    """The length of a recording: what it states, unless its samples, which are what is planned with, are others."""
    stated, counted = table["duration"], table["num_samples"] / table["sampling_rate"]
    return stated if abs(stated - counted) <= TOLERANCE else counted


def _recording(table: Mapping[str, Any]) -> Recording:
    transforms = table.get("transforms")
    return Recording(
        id=table["id"],
        sources=[AudioSource(one["type"], one["channels"], one["source"]) for one in table["sources"]],
        sampling_rate=table["sampling_rate"],
        num_samples=table["num_samples"],
        duration=_seconds(table),
        transforms=None if transforms is None else [AudioTransform.from_dict(one) for one in transforms],
    )


def _supervision(table: Mapping[str, Any], cut_id: str) -> SupervisionSegment:
    words = (table.get("alignment") or {}).get("word")
    # Of the time of lhotse's own constructor, nine tenths go into a setter that looks at each field.
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
