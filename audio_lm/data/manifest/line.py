"""Check one line of a manifest before a cut is built from it.

The same check is applied when an index is compiled and whenever a cut is read, because the file may change in between.
It works on plain dictionaries, because it reads millions of lines.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lhotse import Recording

from audio_lm.common.audio_units import (
    MAX_SAMPLES,
    MAX_SECONDS,
    MIN_FRAMES,
    SAMPLES_PER_SECOND,
    Seconds,
    frames_in,
    samples_in,
)
from audio_lm.data.audio.decode import TOLERANCE
from audio_lm.data.audio.recordings import before_transforms
from audio_lm.data.manifest.json_lines import SHOWN, InvalidLineError, parse_line, short_repr
from audio_lm.data.manifest.labels import check_labels
from audio_lm.data.manifest.sources import file_of
from audio_lm.data.manifest.transforms import check_rate, check_transforms

CUT_TYPES = ("MonoCut", "MultiCut")
CUT_KEYS = frozenset(
    {"id", "type", "start", "duration", "channel", "supervisions", "recording", "features", "custom"}
)
SUPERVISION_KEYS = frozenset(
    {"id", "recording_id", "start", "duration", "channel", "text", "language", "speaker", "gender"}
    | {"custom", "alignment"}
)
RECORDING_KEYS = frozenset(
    {"id", "sources", "sampling_rate", "num_samples", "duration", "channel_ids", "transforms"}
)
SOURCE_KEYS = frozenset({"type", "channels", "source", "video"})
CLIP_FIELD = re.compile(r"audio_([0-9]{1,4})")
"""Custom field of a further clip; a field of another name, or that is not a recording, is plain data of the user."""

RECORDING_FIELD = re.compile(r"(rejected_)?" + CLIP_FIELD.pattern)
MAX_CUT_SECONDS: Seconds = 36 * 3600  # its number of samples at 16 kHz fits into an int32
MAX_RECORDING_SAMPLES = 10**12  # of a recording; 289 days at 40 kHz
MAX_CHANNELS = 256
MAX_ID_LENGTH = 1000  # characters


class Line(NamedTuple):
    """Facts of a cut that an index needs."""

    cut_id: str
    num_samples: tuple[int, ...]  # of each clip at 16 kHz; empty for a text-only cut
    files: tuple[str, ...]  # its audio files, or byte ranges of tars
    seconds: tuple[Seconds, ...]  # length of each of these files


def read_line(text: bytes, *, roots: Sequence[Path] = ()) -> Line:
    """Parse and check a line.

    Args:
        roots: folders that audio may be in; empty allows any.

    Raises:
        InvalidLineError: the line is invalid.
    """
    return check_cut(parse_line(text), roots)


def id_in(text: bytes) -> str:
    """Cut id of an invalid line, for messages; ``"?"`` if it has none."""
    try:
        cut = parse_line(text)
    except InvalidLineError:
        return "?"
    cut_id = cut.get("id") if isinstance(cut, dict) else None
    return cut_id[:SHOWN] if isinstance(cut_id, str) else "?"


def is_long(line: Line) -> bool:
    """True if a clip is longer than the encoder's 30 s."""
    return max(line.num_samples, default=0) > MAX_SAMPLES


def too_long(line: Line) -> str:
    """Error message for a long clip."""
    seconds = max(line.num_samples) / SAMPLES_PER_SECOND
    return f"{seconds:.1f} s is longer than the encoder's {MAX_SECONDS:.0f} s"


def check_cut(cut: Any, roots: Sequence[Path] = ()) -> Line:
    """Check every value of a parsed line that is used.

    Raises:
        InvalidLineError: the line is not a cut, or the cut is invalid.
    """
    if not isinstance(cut, dict):
        raise InvalidLineError("the line is not a cut")
    kind = cut.get("type", "MonoCut")
    if not isinstance(kind, str) or kind not in CUT_TYPES:
        raise InvalidLineError(
            f"a cut of type {short_repr(kind)} cannot be read -- expected "
            f"{', '.join(CUT_TYPES)}; write its audio with lhotse's CutSet.save_audios(folder)"
        )
    _check_keys(cut, CUT_KEYS, "the cut")
    cut_id = _text(cut, "id", "the cut")
    duration, start = _number(cut, "duration"), _number(cut, "start", least=0.0)
    _check_supervisions(cut, duration)
    recordings = _recordings(cut)
    if not recordings:
        if cut.get("features") is not None:
            raise InvalidLineError(
                "the cut has features and no recording; features are not read, so add its recording"
            )
        _check_length(start, duration)
        return Line(cut_id, (), (), ())
    lengths = [_recording_seconds(recording) for recording in recordings]
    if start + duration > lengths[0] + TOLERANCE:
        raise InvalidLineError(
            f"the cut ends at {start + duration:.3f} s of a recording of {lengths[0]:.3f} s"
        )
    _check_channels(cut, kind, recordings[0])
    files, file_seconds = _files(recordings, lengths, roots)
    num_samples = [_num_samples(start, seconds) for seconds in (duration, *lengths[1:])]
    if len(num_samples) > 1:
        del num_samples[len(clip_fields(cut["custom"])) + 1 :]  # the clips of a rejected answer
    return Line(cut_id, tuple(num_samples), tuple(files), tuple(file_seconds))


def clip_fields(custom: Mapping[str, Any] | None) -> list[str]:
    """Custom fields of the second and further clips, in order.

    Args:
        custom: of a cut, or of its JSON.

    >>> clip_fields({"audio_10": {"sources": []}, "audio_2": {"sources": []}, "audio_filepath": "a.wav"})
    ['audio_2', 'audio_10']
    """
    found = [(int(match[1]), name) for name in custom or () if (match := CLIP_FIELD.fullmatch(name))]
    return [name for _, name in sorted(found) if custom is not None and _is_recording(custom[name])]


def _is_recording(value: Any) -> bool:
    return isinstance(value, Recording) or (isinstance(value, dict) and "sources" in value)


def recording_fields(custom: Mapping[str, Any]) -> list[str]:
    """Custom fields that are recordings: further clips first, then the clips of a rejected answer."""
    names = [name for name in custom if RECORDING_FIELD.fullmatch(name) and _is_recording(custom[name])]
    clips = clip_fields(custom)
    return [*clips, *(name for name in names if name not in clips)]


def _recordings(cut: Mapping[str, Any]) -> list[Any]:
    recording, custom = cut.get("recording"), _table(cut, "custom", "the cut") or {}
    if recording is None:
        return []
    return [recording, *(custom[name] for name in recording_fields(custom))] if custom else [recording]


def _files(
    recordings: Sequence[Mapping[str, Any]], lengths: Sequence[Seconds], roots: Sequence[Path]
) -> tuple[list[str], list[Seconds]]:
    """Audio files of recordings, and the length of each."""
    files, file_seconds = list[str](), list[Seconds]()
    for recording, seconds in zip(recordings, lengths, strict=True):
        for source in recording["sources"]:
            files.append(file_of(source, roots))
            file_seconds.append(_file_seconds(recording, seconds))
    return files, file_seconds


def _num_samples(start: Seconds, seconds: Seconds) -> int:
    _check_length(start, seconds)
    count = samples_in(seconds)
    if frames_in(count) < MIN_FRAMES:
        raise InvalidLineError(
            f"a clip of {count / SAMPLES_PER_SECOND:.3f} s has {frames_in(count)} frames, "
            f"but one audio token needs {MIN_FRAMES}"
        )
    return count


def _check_length(start: Seconds, seconds: Seconds) -> None:
    if seconds > MAX_CUT_SECONDS or start > MAX_RECORDING_SAMPLES:
        raise InvalidLineError(
            f"{seconds:g} s from {start:g} s -- expected at most {MAX_CUT_SECONDS / 3600:.0f} hours; cut it up"
        )


def _check_keys(table: Mapping[str, Any], known: frozenset[str], what: str) -> None:
    if not known.issuperset(table):
        raise InvalidLineError(
            f"{what} has the key {short_repr(min(table.keys() - known))} -- expected {', '.join(sorted(known))}"
        )


def _table(table: Mapping[str, Any], key: str, what: str) -> dict[str, Any] | None:
    value = table.get(key)
    if value is not None and type(value) is not dict:
        raise InvalidLineError(f"{key} of {what} is {short_repr(value)} -- expected an object")
    return value


def _text(table: Mapping[str, Any], key: str, what: str, *, default: str | None = None) -> str:
    value = table.get(key, default)
    if type(value) is not str or not value or len(value) > MAX_ID_LENGTH:
        raise InvalidLineError(
            f"{what} has no {key}" + ("" if value is None else f" that is a text, but {short_repr(value)}")
        )
    return value


def _number(table: Mapping[str, Any], key: str, *, least: float | None = None) -> float:
    """A finite number, positive or at least ``least``."""
    value = table.get(key, 0.0 if key == "start" else None)
    is_number = (
        type(value) in (int, float) and -MAX_RECORDING_SAMPLES <= value <= MAX_RECORDING_SAMPLES
    )  # NaN is in no range
    if not is_number or (value <= 0 if least is None else value < least):
        raise InvalidLineError(f"{key} is {short_repr(value)}")
    return float(value)


def _check_supervisions(cut: Mapping[str, Any], duration: Seconds) -> None:
    supervisions = cut.get("supervisions")
    if not supervisions:
        raise InvalidLineError("the cut has no supervision, so it has no labels")
    if type(supervisions) is not list:
        raise InvalidLineError(f"its supervisions are {short_repr(supervisions)} -- expected a list")
    for supervision in supervisions:
        if type(supervision) is not dict:
            raise InvalidLineError(f"a supervision is {short_repr(supervision)} -- expected an object")
        _check_keys(supervision, SUPERVISION_KEYS, "its supervision")
        for key in ("id", "recording_id"):
            _text(supervision, key, "its supervision", default="-")
        ends = _number(supervision, "start", least=-math.inf) + _number(supervision, "duration")
        if ends > duration + 0.5 and len(supervisions) == 1:
            raise InvalidLineError(f"its supervision ends at {ends:.2f} s of {cut['duration']:.2f} s")
        _table(supervision, "custom", "its supervision")
        _table(supervision, "alignment", "its supervision")
        check_labels(supervision)


def _recording_seconds(recording: Any) -> Seconds:
    if type(recording) is not dict:
        raise InvalidLineError(f"its recording is {short_repr(recording)} -- expected an object")
    _check_keys(recording, RECORDING_KEYS, "its recording")
    _text(recording, "id", "its recording")
    rate, count = recording.get("sampling_rate"), recording.get("num_samples")
    if type(count) is not int or not 0 < count <= MAX_RECORDING_SAMPLES or type(rate) is not int or rate <= 0:
        raise InvalidLineError(f"its recording has {short_repr(count)} samples at {short_repr(rate)} Hz")
    check_rate(rate)
    seconds = count / rate
    _number(recording, "duration")
    if recording.get("transforms") is not None:
        check_transforms(recording["transforms"], rate)
    _check_source_list(recording.get("sources"))
    return seconds


def _file_seconds(recording: Mapping[str, Any], seconds: Seconds) -> Seconds:
    """Length of a recording's file, before transforms of speed and tempo."""
    transforms = recording.get("transforms")
    return before_transforms(recording["sampling_rate"], seconds, transforms)[1] if transforms else seconds


def _check_source_list(sources: Any) -> None:
    if not sources:
        raise InvalidLineError("its recording has no source")
    if type(sources) is not list or any(type(source) is not dict for source in sources):
        raise InvalidLineError(
            f"the sources of its recording are {short_repr(sources)} -- expected a list of objects"
        )
    for source in sources:
        _check_keys(source, SOURCE_KEYS, "a source of its recording")
        _check_channel_list(source.get("channels"), "of a source of its recording")
    if len(sources) > 1 and len(set(_channels_of(sources))) != len(_channels_of(sources)):
        raise InvalidLineError("two sources of its recording have the same channel")


def _check_channel_list(channels: Any, of_what: str) -> None:
    is_list = type(channels) is list and 0 < len(channels) <= MAX_CHANNELS
    if not is_list or any(type(channel) is not int or channel < 0 for channel in channels):
        raise InvalidLineError(
            f"the channels {of_what} are {short_repr(channels)} -- expected a list of numbers from 0"
        )
    if len(set(channels)) != len(channels):
        raise InvalidLineError(f"the channels {of_what} are {short_repr(channels)}, with a duplicate")


def _channels_of(sources: Sequence[Mapping[str, Any]]) -> list[int]:
    return [channel for source in sources for channel in source["channels"]]


def _check_channels(cut: Mapping[str, Any], kind: str, recording: Mapping[str, Any]) -> None:
    """Refuse channels that the recording does not have, and a MultiCut with supervisions of single channels.

    The channels of a MultiCut are averaged, which would mix speakers that have a channel each.
    """
    channel, existing = cut.get("channel"), _channels_of(recording["sources"])
    if kind == "MonoCut":
        if type(channel) is not int or channel not in existing:
            raise InvalidLineError(
                f"channel is {short_repr(channel)} -- expected one of its recording, {short_repr(existing)}"
            )
        return
    _check_channel_list(channel, "of the cut")
    selected = frozenset(cut["channel"])
    if not selected <= set(existing):
        raise InvalidLineError(
            f"channel is {short_repr(channel)} -- expected some of its recording, {short_repr(existing)}"
        )
    supervised = {_channels_of_supervision(supervision) for supervision in cut["supervisions"]}
    # Lhotse writes channel 0 for a supervision without a channel.
    if len(supervised) > 1 or not supervised <= {selected, frozenset({0})}:
        raise InvalidLineError(
            f"its supervisions are of single channels, {short_repr([sorted(channels) for channels in supervised])} of "
            f"{sorted(selected)}, which would be averaged; split the cut with lhotse's "
            f"trim_to_supervisions(keep_overlapping=False), which selects every speaker's channel"
        )


def _channels_of_supervision(supervision: Mapping[str, Any]) -> frozenset[int]:
    channel = supervision.get("channel", 0)
    channels = channel if type(channel) is list else [channel]
    _check_channel_list(channels, "of its supervision")
    return frozenset(channels)
