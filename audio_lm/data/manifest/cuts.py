"""Find, read and check cut-sets and cuts, and load the clips of a cut.

Cuts are checked here, because an error can still name the cut; later modules rely on the checks.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from lhotse import CutSet, Recording
from lhotse.audio.utils import set_audio_duration_mismatch_tolerance
from lhotse.cut import Cut, MonoCut, MultiCut
from lhotse.utils import fastcopy

from audio_lm.common.audio_units import (
    MAX_SAMPLES,
    MAX_SECONDS,
    MIN_FRAMES,
    SAMPLES_PER_SECOND,
    Seconds,
    frames_in,
    samples_in,
)
from audio_lm.common.errors import DataError, first_line
from audio_lm.common.source_name import corpus_of
from audio_lm.data.audio import decode
from audio_lm.data.audio.errors import AudioError
from audio_lm.data.audio.recordings import before_transforms, samples_of
from audio_lm.data.manifest import shar
from audio_lm.data.manifest.json_lines import InvalidLineError
from audio_lm.data.manifest.labels import labels_of
from audio_lm.data.manifest.lhotse_cut import CutFacts, read_cut
from audio_lm.data.manifest.line import clip_fields, id_in, read_line, recording_fields
from audio_lm.data.manifest.sources import check_source
from audio_lm.data.manifest.transforms import check_transforms

EvalLongAudio = Literal["error", "drop"]
ROUNDING = 2  # samples by which the length after resampling may differ from the duration

# By default Lhotse pads a file that is shorter than its manifest by mirroring up to half a second of it.
set_audio_duration_mismatch_tolerance(decode.TOLERANCE)


def manifest_path(data_dir: Path, source: str) -> Path:
    """Path of the plain manifest of the cut-set ``corpus/subset-split``."""
    return data_dir / f"{source}.jsonl"


def has_cut_set(data_dir: Path, source: str) -> bool:
    """True if a cut-set is on this machine."""
    return bool(_paths_of(data_dir, source))


def _paths_of(data_dir: Path, source: str) -> list[Path]:
    """Existing manifests and Shar folders of a cut-set; more than one is an error."""
    manifest, folder = manifest_path(data_dir, source), data_dir / source
    files = [path for path in (manifest, manifest.with_name(f"{manifest.name}.gz")) if path.is_file()]
    return [*files, folder] if shar.is_shar(folder) else files


def cut_set_path(data_dir: Path, source: str) -> Path:
    """Path of a cut-set: its manifest, plain or gzip, or its Shar folder.

    Raises:
        DataError: the cut-set is missing, or exists twice.
    """
    paths = _paths_of(data_dir, source)
    if not paths:
        raise DataError(f"cut-set {source!r}: {_why_missing(data_dir, source)}")
    if len(paths) > 1:
        raise DataError(
            f"cut-set {source!r} exists twice, as {' and as '.join(map(str, paths))}; remove one of them"
        )
    return paths[0]


def _why_missing(data_dir: Path, source: str) -> str:
    manifest = manifest_path(data_dir, source)
    others = (".json", ".yaml", ".jsonl.bz2", ".jsonl.xz", ".jsonl.zst", ".jsonl.lz4", ".jsonl.zip")
    for path in (manifest.with_name(manifest.name.removesuffix(".jsonl") + ending) for ending in others):
        if path.exists():
            return f"{path} exists, but only .jsonl and .jsonl.gz are read; unpack it, or write it again as .jsonl"
    return (
        f"{manifest} does not exist; make it from files of your own with `audio-lm import FORMAT FILE --into {source}`, or, "
        f"if it is a corpus of `audio-lm prepare --list`, with `audio-lm prepare {corpus_of(source)}`"
    )


def read_cuts(data_dir: Path, source: str) -> list[Cut]:
    """Read all cuts of a source.

    Raises:
        DataError: the cut-set is missing or empty, or a line is invalid; names file and line.
    """
    path = cut_set_path(data_dir, source)
    cuts = []
    for line in shar.lines_of(path):
        try:
            cuts.append(resample_to_16_khz(read_cut(line.text)))
        except InvalidLineError as error:
            raise DataError(
                f"{line.file}:{line.number}: cut {id_in(line.text)!r}: {error}; repair the line or remove it"
            ) from error
    if not cuts:
        raise DataError(
            f"cut-set {source!r}: {path} has no cuts; prepare the corpus again or leave the source out"
        )
    return cuts


def size_of(cut_set: Path) -> tuple[int, Seconds]:
    """Number of cuts in a cut-set and seconds of their first clips; invalid lines are not counted."""
    count, num_samples = 0, 0
    for line in shar.lines_of(cut_set):
        try:
            facts = read_line(line.text)
        except InvalidLineError:
            continue
        count, num_samples = count + 1, num_samples + sum(facts.num_samples[:1])
    return count, num_samples / SAMPLES_PER_SECOND


def resample_to_16_khz(cut: Cut) -> Cut:
    """Resample all clips of a cut to 16 kHz (lazily, as transforms of their recordings)."""
    if not cut.has_recording:
        return cut
    if cut.sampling_rate != SAMPLES_PER_SECOND:
        cut = cut.resample(SAMPLES_PER_SECOND)
    resampled = resample_further_clips(cut) | _resample_rejected(cut)
    return fastcopy(cut, custom={**cut.custom, **resampled}) if resampled else cut


def resample_further_clips(cut: Cut | CutFacts) -> dict[str, Recording]:
    """Resample the recordings of clip 2, 3 ... that are not at 16 kHz; by field name."""
    return {
        name: recording.resample(SAMPLES_PER_SECOND)
        for name in recordings_of(cut)
        if (recording := cut.custom[name]).sampling_rate != SAMPLES_PER_SECOND
    }


def _resample_rejected(cut: Cut) -> dict[str, Recording]:
    return {name: cut.custom[name].resample(SAMPLES_PER_SECOND) for name in rejected_recordings_of(cut)}


def recordings_of(cut: Cut | CutFacts) -> list[str]:
    """Custom fields with the recordings of clip 2, 3 ... of a cut."""
    return clip_fields(cut.custom)


def num_samples_of(cut: Cut | CutFacts) -> list[int]:
    """Length of each clip in samples at 16 kHz; empty for a text-only cut."""
    if not cut.has_recording:
        return []
    return [samples_in(cut.duration)] + [samples_in(cut.custom[name].duration) for name in recordings_of(cut)]


def rejected_recordings_of(cut: Cut | CutFacts) -> list[str]:
    """Custom fields with the recordings of a rejected conversation that has other clips, in order."""
    clips = recordings_of(cut)
    names = [name for name in recording_fields(cut.custom or {}) if name not in clips]
    return sorted(names, key=lambda name: int(name.rpartition("_")[2]))


def rejected_cut(cut: Cut) -> Cut | None:
    """Cut with the clips of the rejected conversation of a cut, without labels; None if it has those of the chosen one."""
    names = rejected_recordings_of(cut)
    if not names:
        return None
    first, *further = (cut.custom[name] for name in names)
    custom = {f"audio_{number}": recording for number, recording in enumerate(further, start=2)}
    channels = first.channel_ids
    kind, channel = (MonoCut, channels[0]) if len(channels) == 1 else (MultiCut, channels)
    return kind(cut.id, 0.0, first.duration, channel, [], recording=first, custom=custom or None)


def check_length(cut: Cut) -> None:
    """Refuse clips that the encoder cannot process.

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
                f"cut it, or leave such clips out with long_audio=drop"
            )


def usable_cuts(cuts: Sequence[Cut], *, source: str, long_audio: EvalLongAudio) -> list[Cut]:
    """Check the length of every clip; with ``long_audio="drop"``, filter out cuts with long clips.

    Raises:
        DataError: a clip is too short or too long, or no cut is left; names the cut.
    """
    usable = []
    for cut in cuts:
        if long_audio == "drop" and max(num_samples_of(cut), default=0) > MAX_SAMPLES:
            continue
        check_length(cut)
        usable.append(cut)
    if not usable:
        raise DataError(
            f"cut-set {source!r} has no usable cut; it had {len(cuts)} before long_audio={long_audio} was applied"
        )
    return usable


def check_sources(cuts: Iterable[Cut], roots: Sequence[Path] = ()) -> None:
    """Refuse audio that is not a file, files outside the allowed folders, and transforms that are not supported.

    Raises:
        DataError: names the cut.
    """
    for cut in cuts:
        recordings = [cut.recording] if cut.has_recording else []
        for recording in [*recordings, *(cut.custom[name] for name in recordings_of(cut))]:
            try:
                _check_recording(recording, roots)
            except InvalidLineError as error:
                raise DataError(f"cut {cut.id!r}: {error}") from error


def _check_recording(recording: Recording, roots: Sequence[Path]) -> None:
    for source in recording.sources:
        # Of audio in memory, `source` is the content itself, which may have megabytes.
        check_source(source.type, "" if source.type == "memory" else str(source.source), roots)
    transforms = [
        transform if isinstance(transform, dict) else transform.to_dict()
        for transform in recording.transforms or ()
    ]
    check_transforms(transforms, recording.sampling_rate)


def check_files(cuts: Iterable[Cut]) -> None:
    """Check every audio file of some cuts once.

    Raises:
        DataError: a file is missing or cannot be decoded; names the file and a cut that needs it.
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
    """Check an audio file, and compare its length with the manifest.

    If the header states an exact length, only the header and both ends of the file are read; else the file
    is decoded and its samples are counted.

    Args:
        path: of the file, or a byte range of a tar as text.
        seconds: length in the manifest.

    Raises:
        DataError: the file is missing, damaged, or of another length.
        UserError: the package that decodes it is not installed.
    """
    if not shar.file_holding(path).exists():
        raise DataError(f"cut {cut_id!r}: its audio file {path} is missing; prepare the corpus again")
    try:
        found = decode.measure(shar.open_source(path), name=path)
    except (AudioError, OSError) as error:
        raise DataError(f"cut {cut_id!r}: {error}; replace the file") from error
    # A file may be longer than its manifest states, unless the manifest took the length from an inexact header.
    excess = found.seconds - seconds if found.is_counted else 0.0
    if seconds - found.seconds > decode.TOLERANCE or excess > decode.TOLERANCE:
        raise DataError(
            f"cut {cut_id!r}: {path} has {found.seconds:.2f} s and its manifest states {seconds:.2f} s; import it again, "
            f"which counts its samples"
        )


def load_waves(cut: Cut) -> list[np.ndarray]:
    """Load the clips of a cut in order: mono, 16 kHz, float32.

    Raises:
        DataError: a file is missing, damaged, or differs in length from the manifest.
    """
    if not cut.has_recording:
        return []
    check_sources([cut])
    try:
        waves = samples_of(cut, recordings_of(cut))
    except Exception as error:  # any error of Lhotse, its transforms or decoders is a fault of this clip
        raise DataError(
            f"cut {cut.id!r}: its audio cannot be read ({first_line(error)}); replace the file"
        ) from error
    return [
        _mono(wave, num_samples, cut.id) for wave, num_samples in zip(waves, num_samples_of(cut), strict=True)
    ]


def _mono(wave: np.ndarray, num_samples: int, cut_id: str) -> np.ndarray:
    mono: np.ndarray = wave.mean(axis=0) if wave.ndim == 2 else wave
    if not np.isfinite(mono).all():
        raise AudioError(
            f"cut {cut_id!r}: its audio has values that are not finite; replace the file", "nonfinite"
        )
    if abs(len(mono) - num_samples) > ROUNDING:
        raise AudioError(
            f"cut {cut_id!r}: {len(mono)} samples were read and {num_samples} expected; prepare it again",
            "short",
        )
    mono = np.pad(mono, (0, max(0, num_samples - len(mono))))[:num_samples]
    return mono.astype(np.float32, copy=False)


def texts_of(cuts: CutSet | Sequence[Cut]) -> Iterable[str]:
    """All strings in the labels of some cuts, for making a vocabulary."""
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
