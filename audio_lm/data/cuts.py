"""What a cut must be, and what it says about its clips.

A cut is checked here, where it can still be named; whoever comes later may
rely on it. The labels a cut may carry are listed in ``README.md``.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from lhotse import CutSet, Recording, load_manifest_lazy
from lhotse.audio.utils import set_audio_duration_mismatch_tolerance
from lhotse.cut import Cut
from lhotse.serialization import deserialize_item
from lhotse.utils import fastcopy

from audio_lm.data import audio, shar
from audio_lm.data.faults import AudioError
from audio_lm.data.manifest import UnfitError, check_source
from audio_lm.data.recordings import before_transforms, samples_of
from audio_lm.errors import DataError
from audio_lm.languages import UNKNOWN_LANGUAGE, with_language_codes
from audio_lm.units import (
    MAX_SAMPLES,
    MAX_SECONDS,
    MIN_FRAMES,
    SAMPLES_PER_SECOND,
    Seconds,
    frames_in,
    samples_in,
)

LongClips = Literal["error", "drop"]
ROUNDING = 2  # samples by which resampling may miss the length a duration promises

# lhotse mirrors up to half a second of speech into a file that is shorter than declared.
set_audio_duration_mismatch_tolerance(audio.TOLERANCE)


def manifest_path(data_dir: Path, source: str) -> Path:
    """Where the manifest of the cut-set ``corpus/subset-split`` lies, unless it is in Shar."""
    return data_dir / f"{source}.jsonl"


def has_cut_set(data_dir: Path, source: str) -> bool:
    """Whether a cut-set is on this machine."""
    return manifest_path(data_dir, source).is_file() or shar.is_shar(data_dir / source)


def cut_set_path(data_dir: Path, source: str) -> Path:
    """Where a cut-set lies: its manifest, or its folder of Shar.

    Raises:
        DataError: it is not there, or it is there twice.
    """
    path, folder = manifest_path(data_dir, source), data_dir / source
    if not has_cut_set(data_dir, source):
        raise DataError(
            f"cut-set {source!r}: {path} is not there; make it with `audio-lm prepare {source.split('/')[0]}`"
        )
    if not shar.is_shar(folder):
        return path
    if path.is_file():
        raise DataError(
            f"cut-set {source!r} lies there twice, as {path} and as Shar in {folder}; remove one of them"
        )
    return folder


def read_cuts(data_dir: Path, source: str) -> list[Cut]:
    """The cuts of a source.

    Raises:
        DataError: there is no such cut-set, or nothing in it.
    """
    path = cut_set_path(data_dir, source)
    lines: Iterable[Cut]
    if path.is_dir():
        lines = (deserialize_item(json.loads(line.text)) for line in shar.lines_of(path))
    else:
        lines = load_manifest_lazy(path) if path.stat().st_size else ()
    cuts = [at_16_khz(cut) for cut in lines]
    if not cuts:
        raise DataError(
            f"cut-set {source!r}: {path} holds no cuts; prepare the corpus again or leave the source out"
        )
    return cuts


def at_16_khz(cut: Cut) -> Cut:
    """A cut whose clips all come at the rate everything here expects."""
    if not cut.has_recording:
        return cut
    if cut.sampling_rate != SAMPLES_PER_SECOND:
        cut = cut.resample(SAMPLES_PER_SECOND)
    others = {name: cut.custom[name] for name in recordings_of(cut)}
    changed = {
        name: recording.resample(SAMPLES_PER_SECOND)
        for name, recording in others.items()
        if recording.sampling_rate != SAMPLES_PER_SECOND
    }
    return fastcopy(cut, custom={**cut.custom, **changed}) if changed else cut


def labels_of(cut: Cut) -> dict[str, Any]:
    """What is known about a clip, as tasks ask for it."""
    labels: dict[str, Any] = {"language": UNKNOWN_LANGUAGE}
    for supervision in cut.supervisions[:1]:
        labels |= supervision.custom or {}
        labels |= {
            key: value
            for key in ("language", "text", "gender")
            if (value := getattr(supervision, key)) is not None
        }
        words = (supervision.alignment or {}).get("word")
        if words is not None:
            labels["units"] = [(word.symbol, word.start, word.end) for word in words]
    return with_language_codes(labels)


def recordings_of(cut: Cut) -> list[str]:
    """Names of the recordings behind clip 2, 3 ... of a cut."""
    custom = cut.custom or {}
    names = [name for name in custom if name.startswith("audio_") and isinstance(custom[name], Recording)]
    return sorted(names, key=lambda name: int(name.removeprefix("audio_")))


def num_samples_of(cut: Cut) -> list[int]:
    """Length of each clip at 16 kHz; text-only cuts have none."""
    if not cut.has_recording:
        return []
    return [samples_in(cut.duration)] + [samples_in(cut.custom[name].duration) for name in recordings_of(cut)]


def check_length(cut: Cut) -> None:
    """Refuse clips the encoder cannot hear.

    Raises:
        DataError: a clip has fewer than 3 frames or more than 30 s.
    """
    for num_samples in num_samples_of(cut):
        if frames_in(num_samples) < MIN_FRAMES:
            raise DataError(
                f"cut {cut.id!r}: a clip of {num_samples / SAMPLES_PER_SECOND:.3f} s has {frames_in(num_samples)} frames, "
                f"but one audio token needs {MIN_FRAMES}; remove the cut"
            )
        if num_samples > MAX_SAMPLES:
            raise DataError(
                f"cut {cut.id!r}: {num_samples / SAMPLES_PER_SECOND:.1f} s is longer than the encoder's {MAX_SECONDS:.0f} s; "
                f"cut it, or leave such clips out with long_clips=drop"
            )


def usable_cuts(cuts: Sequence[Cut], *, source: str, long_clips: LongClips) -> list[Cut]:
    """The cuts of a source that keep the contract.

    Raises:
        DataError: a cut breaks it; the message names the cut.
    """
    kept = []
    for cut in cuts:
        if long_clips == "drop" and max(num_samples_of(cut), default=0) > MAX_SAMPLES:
            continue
        check_length(cut)
        kept.append(cut)
    if not kept:
        raise DataError(
            f"cut-set {source!r} has no usable cut; it had {len(cuts)} before the rule long_clips={long_clips}"
        )
    return kept


def check_sources(cuts: Iterable[Cut], roots: Sequence[Path] = ()) -> None:
    """Refuse audio that is no file, and files outside the allowed folders.

    Raises:
        DataError: names the cut.
    """
    for cut in cuts:
        recordings = [cut.recording] if cut.has_recording else []
        for recording in [*recordings, *(cut.custom[name] for name in recordings_of(cut))]:
            for source in recording.sources:
                # What is in memory may be megabytes of bytes.
                where = "" if source.type == "memory" else str(source.source)
                try:
                    check_source(source.type, where, roots)
                except UnfitError as error:
                    raise DataError(f"cut {cut.id!r}: {error}") from error


def check_files(cuts: Iterable[Cut]) -> None:
    """Look at every audio file once, before anything is trained.

    Raises:
        DataError: a file is missing or cannot be decoded; names it and a cut that needs it.
    """
    seen: set[str] = set()
    for cut in cuts:
        recordings = [cut.recording] if cut.has_recording else []
        recordings += [cut.custom[name] for name in recordings_of(cut)]
        for recording in recordings:
            _, seconds = before_transforms(recording.sampling_rate, recording.duration, recording.transforms)
            for source in recording.sources:
                if source.type in ("file", "shar") and source.source not in seen:
                    seen.add(source.source)
                    check_file(source.source, cut.id, seconds)


def check_file(path: str, cut_id: str, seconds: Seconds) -> None:
    """Look at an audio file, and compare its length with what a manifest says.

    Where a header states the length, that is read, and both ends of the file; else
    all of it is decoded and counted.

    Args:
        path: of the file, or the text of a stretch of a tar.
        seconds: by the manifest.

    Raises:
        DataError: it is missing, damaged, or of another length.
        UserError: the package that decodes it is not installed.
    """
    stretch = shar.Stretch.of(path)
    if not (Path(path) if stretch is None else stretch.tar).exists():
        raise DataError(f"cut {cut_id!r}: its audio file {path} is missing; prepare the corpus again")
    try:
        found = audio.measure(shar.opened(path), name=path)
    except (AudioError, OSError) as error:
        raise DataError(f"cut {cut_id!r}: {error}; replace the file") from error
    # Only of a counted length is it known that others, who took it from a header, were mistaken.
    over = found.seconds - seconds if found.is_counted else 0.0
    if seconds - found.seconds > audio.TOLERANCE or over > audio.TOLERANCE:
        raise DataError(
            f"cut {cut_id!r}: {path} has {found.seconds:.2f} s and its manifest says {seconds:.2f} s; import it again, which counts "
            f"its samples"
        )


def load_waves(cut: Cut) -> list[np.ndarray]:
    """The clips of a cut: mono, 16 kHz, float32, in order.

    Raises:
        DataError: a file is missing, damaged, or not the length the manifest says.
    """
    if not cut.has_recording:
        return []
    check_sources([cut])
    try:
        waves = samples_of(cut, recordings_of(cut))
    except Exception as error:  # of Lhotse, its transforms and decoders; all of them are faults of this clip
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"cut {cut.id!r}: its audio cannot be read ({reason}); replace the file") from error
    return [
        _mono(wave, num_samples, cut.id) for wave, num_samples in zip(waves, num_samples_of(cut), strict=True)
    ]


def _mono(wave: np.ndarray, num_samples: int, cut_id: str) -> np.ndarray:
    mono: np.ndarray = wave.mean(axis=0) if wave.ndim == 2 else wave
    if not np.isfinite(mono).all():
        raise AudioError(
            f"cut {cut_id!r}: its audio holds values that are not finite; replace the file", "nonfinite"
        )
    if abs(len(mono) - num_samples) > ROUNDING:
        raise AudioError(
            f"cut {cut_id!r}: {len(mono)} samples were read and {num_samples} promised; prepare it again",
            "short",
        )
    mono = np.pad(mono, (0, max(0, num_samples - len(mono))))[:num_samples]
    return mono.astype(np.float32, copy=False)


def places_of(labels: Mapping[str, Any]) -> list[tuple[str, int]] | None:
    """Words standing where audio tokens would be, in a text-only cut that acts as a clip."""
    places = labels.get("places")
    return None if places is None else [(str(text), int(count)) for text, count in places]


def texts_of(cuts: CutSet | Sequence[Cut]) -> Iterable[str]:
    """Every text a vocabulary should know: strings found anywhere in the labels."""
    for cut in cuts:
        yield from _strings(labels_of(cut))


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner)
