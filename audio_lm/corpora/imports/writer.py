"""Writer of imported cut-sets: also rows of text only, and clips of any sampling rate.

Imported labels count as ``declared``, because they are not verified.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import soundfile
from lhotse import MonoCut, MultiCut, Recording
from lhotse.cut import Cut
from lhotse.cut.data import DataCut
from lhotse.utils import fastcopy

from audio_lm.common.audio_units import SAMPLES_PER_SECOND, TOKENS_PER_SECOND, Seconds
from audio_lm.common.errors import DataError
from audio_lm.common.languages import LANGUAGE_LABELS, has_tag
from audio_lm.common.protocols import Advance, ignore_advance
from audio_lm.corpora.channels import AVERAGE, Choice
from audio_lm.corpora.imports.bad_lines import BadLines
from audio_lm.corpora.imports.splitting import SplitBy, split_cuts
from audio_lm.corpora.labels import supervision_of
from audio_lm.corpora.published.base import MIN_SECONDS, AudioListing, CutSetWriter, NewCut
from audio_lm.data.audio.decode import TOLERANCE, AudioMeasurement
from audio_lm.data.audio.recordings import before_transforms
from audio_lm.data.manifest.cuts import load_waves, resample_to_16_khz
from audio_lm.data.manifest.line import recording_fields

MAX_OVERSHOOT: Seconds = 0.5
"""By which a declared clip may pass the end of its file; the clip then ends with the file.

Source: ``--max-overshoot`` of Kaldi's extract-segments.
"""
MAX_CLIPS = 9  # of a conversation, because ``audio_10`` sorts before ``audio_2``


class ImportWriter(CutSetWriter):
    """Collect the cuts of one import; ``notes`` are reported to the user."""

    remedy = "choose one with --channel left or right, or each as a clip of its own with --channel both"
    honesty = "declared"
    has_own_labels = True

    def __init__(
        self,
        folder: Path,
        corpus: str,
        *,
        channel: Choice = AVERAGE,
        measured: Mapping[Path, AudioMeasurement | str] | None = None,
        skip_bad: int = 0,
        advance: Advance = ignore_advance,
    ) -> None:
        """Start with no cuts.

        Args:
            skip_bad: bad rows that are left out instead of stopping the import.
        """
        super().__init__(folder, corpus, channel=channel, measured=measured, advance=advance)
        self.notes: list[str] = []
        self.bad = BadLines(skip_bad)
        self.num_without_language = 0
        self.num_of_other_length = 0
        self._copied: set[Path] = set()
        self.num_tool_turns = 0
        self.num_rows_with_tools = 0
        self.num_clips_of_untagged: Counter[str] = Counter()

    def all_notes(self) -> list[str]:
        """Sentences for the user: those of the format, and those on languages, lengths and what was left out."""
        notes = [*self.notes, *self.bad.notes()]
        if num := self.num_tool_turns:
            notes.append(f"{num} tool turns of {self.num_rows_with_tools} conversations were dropped")
        if num := self.num_without_language:
            notes.append(
                f"{num} transcripts have no language and count as 'unknown'; set the language of the import"
            )
        if untagged := self.num_clips_of_untagged:
            counts = ", ".join(f"{code} ({num} clips)" for code, num in sorted(untagged.items()))
            notes.append(f"languages without a tag, for the prompts natural and chatml only: {counts}")
        if num := self.num_of_other_length:
            notes.append(f"{num} files have another length than their recordings state; theirs is used")
        return notes

    @property
    def num_cuts(self) -> int:
        """Number of cuts so far."""
        return sum(map(len, self._cuts.values()))

    def add_cut(self, subset_split: str, cut: DataCut) -> None:
        """Add a checked cut of Lhotse; its recordings get the measured lengths of their files.

        Raises:
            DataError: a file is unusable or differs from its recording, or the id is a duplicate.
        """
        self._count()
        custom = cut.custom or {}
        if cut.has_recording:
            cut = fastcopy(cut, recording=self._with_measured_length(cut.recording))
            clips = {name: self._with_measured_length(custom[name]) for name in recording_fields(custom)}
            cut.custom = custom | clips or None
            cut.duration = min(cut.duration, cut.recording.duration - cut.start)
            if cut.duration < MIN_SECONDS:
                self.num_left_out += 1
                return
        self._reserve_id(cut.id)
        supervisions = cut.supervisions
        languages = {supervision.language for supervision in supervisions}
        languages |= {(supervision.custom or {}).get("target_language") for supervision in supervisions}
        self.num_without_language += any(one.text and not one.language for one in supervisions)
        self.num_clips_of_untagged.update(code for code in languages if code and not has_tag(code))
        self._cuts.setdefault(subset_split, []).append(cut)

    def _with_measured_length(self, recording: Recording) -> Recording:
        """Recording with the length of its files, if that is near the stated one.

        Raises:
            DataError: a file is unusable, or has another rate, length or number of channels.
        """
        rate, stated = before_transforms(recording.sampling_rate, recording.duration, recording.transforms)
        for source in recording.sources:
            measured = self._measure(Path(source.source))
            if max(source.channels) >= measured.num_channels or not (
                measured.is_counted or measured.rate == rate
            ):
                raise DataError(
                    f"{source.source} has {measured.num_channels} channels at {measured.rate} Hz -- its recording states "
                    f"channels {source.channels} at {rate} Hz; make the manifest of recordings again"
                )
            excess = measured.seconds - stated
            if abs(excess) <= TOLERANCE or (excess > 0 and not measured.is_counted):
                continue  # cuts of a longer file are read as stated
            if abs(excess) > MAX_OVERSHOOT or recording.transforms:
                raise DataError(
                    f"{source.source} has {measured.seconds:.2f} s -- its recording states {stated:.2f} s; make the manifest "
                    f"of recordings again"
                )
            seconds = measured.seconds
            recording = fastcopy(recording, duration=seconds, num_samples=round(seconds * rate))
            self.num_of_other_length += 1
        return recording

    def split(self, subset: str, split_by: SplitBy) -> None:
        """Divide all cuts into the splits of a subset.

        Raises:
            DataError: a clip has no speaker, or there are fewer groups than splits.
        """
        cuts = [cut for found in self._cuts.values() for cut in found]
        divided, note = split_cuts(cuts, split_by)
        self._cuts = {f"{subset}-{split}": found for split, found in divided.items()}
        self.notes.append(note)

    def _add(self, subset_split: str, clip: NewCut) -> None:
        """Check a clip against the length of its file, and add it.

        Raises:
            DataError: the clip passes the end of its file, or a further clip is too short.
        """
        start, duration = clip.start, clip.duration
        file_seconds = self._recording(clip.audio).duration
        if start >= file_seconds or (
            duration is not None and start + duration > file_seconds + MAX_OVERSHOOT
        ):
            end = "its end" if duration is None else f"{start + duration:.2f} s"
            raise DataError(
                f"the clip lasts from {start:.2f} s to {end}, but {clip.audio} only {file_seconds:.2f} s; correct the times"
            )
        for path in clip.further_audio:
            self._check_length(path)
        self.num_without_language += "text" in clip.labels and "language" not in clip.labels
        codes = {clip.labels[key] for key in LANGUAGE_LABELS if key in clip.labels}
        self.num_clips_of_untagged.update(code for code in codes if not has_tag(code))
        super()._add(subset_split, clip)

    def check_duration(
        self, audio: Path, start: Seconds, duration: Seconds | None, declared: Seconds
    ) -> None:
        """Compare the duration of a clip with the declared one.

        Raises:
            DataError: they differ by more than ``MAX_OVERSHOOT``.
        """
        seconds = self._recording(audio).duration - start if duration is None else duration
        if abs(seconds - declared) > MAX_OVERSHOOT:
            raise DataError(
                f"the clip lasts {seconds:.2f} s -- the declared duration is {declared:.2f} s; correct one of them"
            )

    def add_conversation(
        self,
        subset_split: str,
        cut_id: str,
        clips: Sequence[Path],
        labels: Mapping[str, Any],
        *,
        rejected_clips: Sequence[Path] = (),
        start: Seconds = 0.0,
        duration: Seconds | None = None,
    ) -> None:
        """Add a conversation with any number of clips, including zero.

        Args:
            clips: in the order of the conversation.
            labels: with ``conversation``.
            rejected_clips: of the label ``rejected``, if they differ from ``clips``; custom fields
                ``rejected_audio_1``, ``rejected_audio_2`` ... of the cut.
            start: of the first clip in its file; further clips are whole files.
            duration: of the first clip; by default up to the end of its file.

        Raises:
            DataError: too many clips, an unusable clip, or a duplicate id.
        """
        num_clips = max(len(clips), len(rejected_clips))
        if num_clips > MAX_CLIPS:
            raise DataError(
                f"{num_clips} clips in one conversation -- expected at most {MAX_CLIPS}; split it"
            )
        if clips:
            self.add(
                subset_split,
                cut_id,
                clips[0],
                labels,
                start=start,
                duration=duration,
                more_audio=clips[1:],
                rejected_audio=rejected_clips,
            )
        else:
            self._add_text(subset_split, cut_id, labels)

    def copy_clip(
        self,
        name: str,
        source: Path,
        cut: Cut | None,
        *,
        start: Seconds = 0.0,
        duration: Seconds | None = None,
    ) -> Path:
        """Copy a span of a file, or a cut, to a mono file in the folder of the manifest; its path.

        Raises:
            DataError: the span passes the end of the file.
        """
        path = self.folder / name
        if path in self._copied:
            return path
        if cut is None:
            recording = self._recording(source)
            seconds = recording.duration - start if duration is None else duration
            if seconds < MIN_SECONDS or start + seconds > recording.duration + MAX_OVERSHOOT:
                raise DataError(
                    f"the span lasts from {start:.2f} to {start + seconds:.2f} s, but {source} only "
                    f"{recording.duration:.2f} s; correct it"
                )
            seconds = min(seconds, recording.duration - start)
            channels = list(range(recording.num_channels))
            cut = MultiCut(name, start, seconds, channels, recording=recording)
        path.parent.mkdir(parents=True, exist_ok=True)
        (wave,) = load_waves(resample_to_16_khz(fastcopy(cut, custom=None)))
        soundfile.write(path, wave, SAMPLES_PER_SECOND, subtype="PCM_16")
        self._copied.add(path)
        return path

    def _add_text(self, subset_split: str, cut_id: str, labels: Mapping[str, Any]) -> None:
        self._count()
        self._reserve_id(cut_id)
        seconds = 1 / TOKENS_PER_SECOND
        labels = {**labels, "honesty": dict.fromkeys(labels, "declared")}
        supervision = supervision_of(cut_id, seconds, labels, None)
        self._cuts.setdefault(subset_split, []).append(
            MonoCut(id=cut_id, start=0.0, duration=seconds, channel=0, supervisions=[supervision])
        )

    def _check_length(self, audio: Path) -> None:
        if self._recording(audio).duration < MIN_SECONDS:
            raise DataError(f"{audio} lasts under {MIN_SECONDS * 1000:.0f} ms, which is too short; remove it")

    def _measure(self, audio: Path) -> AudioMeasurement:
        self._recording(audio)
        measured = self._measured[audio]
        assert not isinstance(measured, str), "its recording exists"
        return measured

    def _recording(self, audio: Path) -> Recording:
        """Recording at 16 kHz, because only the first clip of a cut is resampled when it is read."""
        return super()._recording(audio).resample(SAMPLES_PER_SECOND)


class ImportListing(AudioListing, ImportWriter):
    """Collect the audio files of an import."""

    def __init__(self, folder: Path, corpus: str, *, skip_bad: int = 0) -> None:
        super().__init__(folder, corpus)
        self.bad = BadLines(skip_bad)

    def check_duration(
        self, audio: Path, start: Seconds, duration: Seconds | None, declared: Seconds
    ) -> None:
        """Add the file; durations are compared after measuring."""
        self._check_length(audio)

    def copy_clip(
        self,
        name: str,
        source: Path,
        cut: Cut | None,
        *,
        start: Seconds = 0.0,
        duration: Seconds | None = None,
    ) -> Path:
        """Collect the file instead of copying a part of it."""
        self.files[source] = None
        return source

    def _check_length(self, audio: Path) -> None:
        self.files[audio] = None

    def add_cut(self, subset_split: str, cut: DataCut) -> None:
        """Collect the files of a cut."""
        self._count()
        recordings = [cut.recording] if cut.has_recording else []
        recordings += [cut.custom[name] for name in recording_fields(cut.custom or {})]
        self.files |= {Path(source.source): None for one in recordings for source in one.sources}
