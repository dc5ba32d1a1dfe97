"""Writer of generated clips and their labels.

Many clips share one long WAV file, and a cut has its position in it. On one core this is written twice as fast as one
file per clip; in both layouts WAV is read twice as fast as FLAC. Clips are exact to the sample; audio is 16-bit, 16 kHz,
mono.

Paths in manifests are in the final folder, because ``prepare`` renames the folder at the end.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from lhotse import MonoCut, Recording
from lhotse.audio import AudioSource

from audio_lm.common.audio_units import (
    MAX_SAMPLES,
    MIN_FRAMES,
    SAMPLES_PER_SECOND,
    TOKENS_PER_SECOND,
    frames_in,
)
from audio_lm.common.protocols import Advance
from audio_lm.corpora.labels import check_label_names, in_recording, supervision_of
from audio_lm.data.audio.decode import Wave

SAMPLES_PER_FILE = 600 * SAMPLES_PER_SECOND


class CutWriter:
    """Write the clips of a corpus and, on close, one manifest per subset and split.

    ``cuts`` returns cuts whose paths are readable before the folder is renamed.
    """

    def __init__(self, folder: Path, final_folder: Path, *, own_labels: Collection[str] = ()) -> None:
        """Create the writer and the folder for audio.

        Args:
            folder: temporary folder, to write to.
            final_folder: folder of the paths in manifests; may be ``folder``.
            own_labels: names of labels that are not in ``tasks.labels.LABELS``, of a corpus of another package.
        """
        self.own_labels = frozenset(own_labels)
        self.advance: Advance | None = None
        """Called with 1 after each clip and each conversation, for progress; not for text rows, which take no time."""

        self.folder = folder
        self.final_folder = final_folder.absolute()
        self._audio = folder.absolute() / "audio"
        self._audio.mkdir(parents=True, exist_ok=True)
        self._cuts: dict[str, list[MonoCut]] = {}
        self._waiting: dict[str, list[tuple[MonoCut, np.ndarray[Any, np.dtype[np.int16]]]]] = {}
        self._num_samples: dict[str, int] = {}
        self._num_files: dict[str, int] = {}
        self._ids: set[str] = set()
        self._recordings_of_clips: dict[str, Recording] = {}

    def add(
        self,
        subset_split: str,
        wave: Wave | None,
        labels: Mapping[str, Any],
        *,
        cut_id: str | None = None,
        more_waves: Sequence[Wave] = (),
        units: Sequence[tuple[str, float, float]] | None = None,
    ) -> str:
        """Add a clip with its labels; return the id of its cut.

        Args:
            subset_split: the manifest, such as ``digits-train``.
            wave: between -1 and 1; ``None`` for a text row, whose length follows from ``places``.
            labels: keys of ``tasks.labels.LABELS`` or of ``own_labels``.
            more_waves: further clips, written as separate recordings (``audio_2``, ...).
            units: word, start, end in seconds from the clip's start.

        Raises:
            ValueError: an unknown label, a duplicate id, or a clip under 30 ms or over 30 s.
        """
        cuts = self._cuts.setdefault(subset_split, [])
        if cut_id is None:
            cut_id = f"{subset_split}-{len(cuts):05d}"
        if cut_id in self._ids:
            raise ValueError(f"cut {cut_id!r} exists; ids of a corpus have to be unique")
        check_label_names(cut_id, labels.keys() - self.own_labels)
        seconds = _text_seconds(labels) if wave is None else len(wave) / SAMPLES_PER_SECOND
        cut = MonoCut(
            id=cut_id,
            start=0.0,
            duration=seconds,
            channel=0,
            supervisions=[supervision_of(cut_id, seconds, labels, units)],
            custom={
                f"audio_{number}": self._write_recording(f"{cut_id}-{number}", [_to_int16(cut_id, extra)])
                for number, extra in enumerate(more_waves, start=2)
            }
            or None,
        )
        if wave is not None:
            self._waiting.setdefault(subset_split, []).append((cut, _to_int16(cut_id, wave)))
            self._num_samples[subset_split] = self._num_samples.get(subset_split, 0) + len(wave)
        self._ids.add(cut_id)
        cuts.append(cut)
        if self._num_samples.get(subset_split, 0) >= SAMPLES_PER_FILE:
            self._write_waiting(subset_split)
        if wave is not None:
            self._advance()
        return cut_id

    def add_conversation(
        self,
        subset_split: str,
        clips: Sequence[MonoCut],
        labels: Mapping[str, Any],
        *,
        rejected_clips: Sequence[MonoCut] = (),
    ) -> str:
        """Add a conversation about clips that are written; return the id of its cut.

        The first clip is not copied. Each other is copied once to a file of its own, because it has to be a recording.

        Args:
            clips: of ``cuts``, in the order of the conversation.
            labels: with ``conversation``.
            rejected_clips: of the label ``rejected``, if they are others (``rejected_audio_1``, ...).
        """
        cuts = self._cuts.setdefault(subset_split, [])
        cut_id = f"{subset_split}-{len(cuts):05d}"
        check_label_names(cut_id, labels)
        further = {f"audio_{number}": clip for number, clip in enumerate(clips[1:], start=2)}
        further |= {f"rejected_audio_{number}": clip for number, clip in enumerate(rejected_clips, 1)}
        first = clips[0]
        supervision = supervision_of(cut_id, first.duration, labels, None)
        cuts.append(
            MonoCut(
                id=cut_id,
                start=first.start,
                duration=first.duration,
                channel=0,
                recording=first.recording,
                supervisions=[in_recording(supervision, first.recording, first.start)],
                custom={name: self._recording_of_clip(clip) for name, clip in further.items()} or None,
            )
        )
        self._ids.add(cut_id)
        self._advance()
        return cut_id

    def _advance(self) -> None:
        if self.advance is not None:
            self.advance(1)

    def _recording_of_clip(self, clip: MonoCut) -> Recording:
        if clip.id not in self._recordings_of_clips:
            wave = _to_int16(clip.id, clip.load_audio()[0])
            self._recordings_of_clips[clip.id] = self._write_recording(f"clip-{clip.id}", [wave])
        return self._recordings_of_clips[clip.id]

    def cuts(self, subset_split: str) -> list[MonoCut]:
        """Cuts written so far, readable with ``cut.load_audio()``."""
        self._write_waiting(subset_split)
        return list(self._cuts.get(subset_split, ()))

    @property
    def subset_splits(self) -> list[str]:
        """Names of all manifests, in the order of their first clip."""
        return list(self._cuts)

    def close(self) -> None:
        """Write the remaining clips and all manifests."""
        for subset_split in self._cuts:
            cuts = self.cuts(subset_split)
            with (self.folder / f"{subset_split}.jsonl").open("w", encoding="utf-8") as manifest:
                for cut in cuts:
                    manifest.write(
                        json.dumps(self._with_final_paths(cut.to_dict()), ensure_ascii=False) + "\n"
                    )

    def _write_waiting(self, subset_split: str) -> None:
        """Write the waiting clips to one file and set the start of each cut."""
        waiting = self._waiting.pop(subset_split, [])
        if not waiting:
            return
        self._num_samples[subset_split] = 0
        number = self._num_files.get(subset_split, 0)
        self._num_files[subset_split] = number + 1
        recording = self._write_recording(f"{subset_split}-{number:03d}", [wave for _, wave in waiting])
        start = 0
        for cut, wave in waiting:
            cut.recording = recording
            cut.start = start / SAMPLES_PER_SECOND
            cut.supervisions = [
                in_recording(supervision, recording, cut.start) for supervision in cut.supervisions
            ]
            start += len(wave)

    def _write_recording(self, name: str, waves: Sequence[np.ndarray[Any, np.dtype[np.int16]]]) -> Recording:
        path = self._audio / f"{name}.wav"
        soundfile.write(path, np.concatenate(waves), SAMPLES_PER_SECOND, subtype="PCM_16")
        num_samples = sum(map(len, waves))
        return Recording(
            id=name,
            sources=[AudioSource(type="file", channels=[0], source=str(path))],
            sampling_rate=SAMPLES_PER_SECOND,
            num_samples=num_samples,
            duration=num_samples / SAMPLES_PER_SECOND,
        )

    def _with_final_paths(self, value: Any) -> Any:
        """Replace the paths of audio sources by those in the final folder."""
        if isinstance(value, list):
            return [self._with_final_paths(item) for item in value]
        if not isinstance(value, dict):
            return value
        return {
            key: str(self.final_folder / "audio" / Path(item).name)
            if key == "source"
            else self._with_final_paths(item)
            for key, item in value.items()
        }


def _to_int16(cut_id: str, wave: Wave) -> np.ndarray[Any, np.dtype[np.int16]]:
    """Convert a clip to 16-bit samples; values beyond full scale are clipped."""
    if wave.ndim != 1 or frames_in(len(wave)) < MIN_FRAMES or len(wave) > MAX_SAMPLES:
        raise ValueError(
            f"cut {cut_id!r}: a wave of shape {wave.shape} -- expected (num_samples,) of 30 ms to 30 s"
        )
    return np.clip(np.round(wave * 32768.0), -32768, 32767).astype(np.int16)


def _text_seconds(labels: Mapping[str, Any]) -> float:
    num_places: int = sum(num for _, num in labels.get("places", ()))
    return max(1, num_places) / TOKENS_PER_SECOND
