"""One line of a manifest, looked at before anything relies on it.

Works on plain dictionaries, because millions of lines are read here; whoever
needs a cut as an object reads that one line again.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from audio_lm.data.audio import TOLERANCE
from audio_lm.data.recordings import before_transforms
from audio_lm.data.shar import Stretch
from audio_lm.masking import masked
from audio_lm.units import (
    MAX_SAMPLES,
    MAX_SECONDS,
    MIN_FRAMES,
    SAMPLES_PER_SECOND,
    Seconds,
    frames_in,
    samples_in,
)

CUT_TYPES = ("MonoCut", "MultiCut")
LOADABLE = ("file", "memory", "shar")


class UnfitError(Exception):
    """A line cannot be used; the message says why."""


class Line(NamedTuple):
    """What has to be known of a cut to plan with it."""

    cut_id: str
    num_samples: tuple[int, ...]  # of each clip at 16 kHz; none for a row of text
    files: tuple[str, ...]  # the audio files behind it, or stretches of tars
    seconds: tuple[Seconds, ...]  # of each of these files


def read_line(text: bytes, *, roots: Sequence[Path] = ()) -> Line:
    """A line that keeps the contract of cuts.

    Args:
        roots: folders that audio may lie in; any folder where none is given.

    Raises:
        UnfitError: it does not.
    """
    cut = _parsed(text)
    cut_id = cut.get("id")
    if not isinstance(cut_id, str) or not cut_id:
        raise UnfitError("the cut has no id")
    _check_supervision(cut)
    recordings = _recordings(cut)
    if not recordings:
        _positive(cut, "duration")
        return Line(cut_id, (), (), ())
    start, duration = _positive(cut, "start", least=0.0), _positive(cut, "duration")
    lengths = [duration]
    for recording in recordings:
        lengths.append(_recording_seconds(recording))
    if start + duration > lengths[1] + TOLERANCE:
        raise UnfitError(f"the cut ends at {start + duration:.3f} s of a recording of {lengths[1]:.3f} s")
    num_samples = tuple(samples_in(seconds) for seconds in (duration, *lengths[2:]))
    for count in num_samples:
        if frames_in(count) < MIN_FRAMES:
            raise UnfitError(
                f"a clip of {count / SAMPLES_PER_SECOND:.3f} s has {frames_in(count)} frames, "
                f"but one audio token needs {MIN_FRAMES}"
            )
    files = [
        (_file(source, roots), _file_seconds(recording))
        for recording in recordings
        for source in recording["sources"]
    ]
    return Line(cut_id, num_samples, tuple(file for file, _ in files), tuple(seconds for _, seconds in files))


def is_long(line: Line) -> bool:
    """Whether a clip is longer than the encoder hears at once."""
    return max(line.num_samples, default=0) > MAX_SAMPLES


def too_long(line: Line) -> str:
    """What is said of such a clip."""
    seconds = max(line.num_samples) / SAMPLES_PER_SECOND
    return f"{seconds:.1f} s is longer than the encoder's {MAX_SECONDS:.0f} s"


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        cut = json.loads(text)
    except UnicodeDecodeError as error:
        raise UnfitError("the line is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise UnfitError(f"the line is no JSON ({error})") from error
    if not isinstance(cut, dict):
        raise UnfitError("the line is no cut")
    if cut.get("type", "MonoCut") not in CUT_TYPES:
        raise UnfitError(
            f"a cut of type {cut.get('type')!r} cannot be read; there are {', '.join(CUT_TYPES)}"
        )
    return cut


def _positive(table: Mapping[str, Any], key: str, *, least: float | None = None) -> float:
    """A number that is finite and over zero, or at least ``least``."""
    value = table.get(key, 0.0 if key == "start" else None)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or (value <= 0 if least is None else value < least):
        raise UnfitError(f"{key} is {value!r}")
    return float(value)


def _check_supervision(cut: Mapping[str, Any]) -> None:
    supervisions = cut.get("supervisions") or []
    if not supervisions:
        raise UnfitError("the cut has no supervision, so nothing is known about it")
    supervision = supervisions[0]
    ends = _positive(supervision, "start", least=-math.inf) + _positive(supervision, "duration")
    if ends > _positive(cut, "duration") + 0.5:
        raise UnfitError(f"its supervision ends at {ends:.2f} s of {cut['duration']:.2f} s")


def _recordings(cut: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    custom = cut.get("custom") or {}
    names = [name for name in custom if name.startswith("audio_")]
    more = [custom[name] for name in sorted(names, key=lambda name: int(name.removeprefix("audio_")))]
    return [cut["recording"], *more] if cut.get("recording") else []


def _recording_seconds(recording: Mapping[str, Any]) -> float:
    rate, count = recording.get("sampling_rate"), recording.get("num_samples")
    if not isinstance(rate, int) or rate <= 0 or not isinstance(count, int) or count <= 0:
        raise UnfitError(f"its recording has {count!r} samples at {rate!r} Hz")
    if not recording.get("sources"):
        raise UnfitError("its recording has no source")
    return count / rate


def _file_seconds(recording: Mapping[str, Any]) -> Seconds:
    """The length of the file behind a recording, before speed and tempo were changed."""
    count, rate = recording["num_samples"], recording["sampling_rate"]
    try:
        return before_transforms(rate, count / rate, recording.get("transforms"))[1]
    except (AttributeError, LookupError, TypeError) as error:
        raise UnfitError(f"its transforms are {recording.get('transforms')!r}") from error


def check_source(kind: str | None, where: str, roots: Sequence[Path] = ()) -> None:
    """Refuse audio that is no file: lhotse runs a command, or asks the network, to read some types.

    Raises:
        UnfitError: it is of such a type, or outside the allowed folders.
    """
    stretch = Stretch.of(where) if kind == "shar" else None
    if kind == "shar" and stretch is None:
        raise UnfitError("its audio is in no recording.*.tar beside it")
    if kind not in LOADABLE or where.startswith("pipe:") or where.strip().endswith("|"):
        raise UnfitError(f"audio of type {kind!r} is not read, for it could run a command; write files")
    if "://" in where:
        raise UnfitError(f"audio at the address {masked(where)} is not read; download it and write files")
    path = Path(where) if stretch is None else stretch.tar
    if (
        kind != "memory"
        and roots
        and not any(path.resolve().is_relative_to(root.resolve()) for root in roots)
    ):
        raise UnfitError(f"{where} lies outside {', '.join(map(str, roots))}")


def _file(source: Mapping[str, Any], roots: Sequence[Path]) -> str:
    kind, where = source.get("type"), str(source.get("source", ""))
    check_source(kind, where, roots)
    return "" if kind == "memory" else where
