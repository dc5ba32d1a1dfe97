"""A writer of cut-sets for rows somebody else labelled: also rows of text only, and clips of any rate.

What is imported counts as ``declared``: the file says so, and nobody here has checked it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lhotse import MonoCut, Recording

from audio_lm.common.audio_units import SAMPLES_PER_SECOND, TOKENS_PER_SECOND, Seconds
from audio_lm.common.errors import DataError
from audio_lm.common.languages import LANGUAGE_LABELS, has_tag
from audio_lm.corpora.channels import AVERAGE, Choice
from audio_lm.corpora.published.base import SHORTEST, AudioListing, CutSetWriter
from audio_lm.corpora.synthetic.writing import supervision_of
from audio_lm.data.audio.decode import AudioMeasurement

OVERSHOOT: Seconds = 0.5
"""By which a clip may be said to outlast its file; the clip then ends with the file.

Source: ``--max-overshoot`` of Kaldi's extract-segments.
"""
MOST_CLIPS = 9  # of a conversation: ``audio_10`` would be sorted before ``audio_2``


class ImportWriter(CutSetWriter):
    """Collects the cuts of one import; what should be told of it is in ``notes``."""

    remedy = "choose one with --channel left or right, or each as a clip of its own with --channel both"

    def __init__(
        self,
        folder: Path,
        corpus: str,
        *,
        channel: Choice = AVERAGE,
        measured: Mapping[Path, AudioMeasurement | str] | None = None,
    ) -> None:
        super().__init__(folder, corpus, channel=channel, measured=measured)
        self.notes: list[str] = []
        self.num_without_language = 0
        self.num_clips_of_untagged: Counter[str] = Counter()

    @property
    def num_cuts(self) -> int:
        """Collected so far."""
        return sum(map(len, self._cuts.values()))

    def add(
        self,
        subset_split: str,
        cut_id: str,
        audio: Path,
        labels: Mapping[str, Any],
        *,
        start: Seconds = 0.0,
        duration: Seconds | None = None,
        more_audio: Sequence[Path] = (),
        rejected_audio: Sequence[Path] = (),
        units: Sequence[tuple[str, float, float]] | None = None,
        honesty: str = "declared",
    ) -> None:
        """Add a clip as ``CutSetWriter`` does, after a look at where it ends.

        Raises:
            DataError: also when the clip is not within its file, or a further clip cannot be heard.
        """
        there = self._recording(audio).duration
        if start >= there or (duration is not None and start + duration > there + OVERSHOOT):
            end = "its end" if duration is None else f"{start + duration:.2f} s"
            raise DataError(
                f"the clip lasts from {start:.2f} s to {end}, but {audio} only {there:.2f} s; correct the times"
            )
        for path in (*more_audio, *rejected_audio):
            self._check_heard(path)
        self.num_without_language += "text" in labels and "language" not in labels
        codes = {labels[key] for key in LANGUAGE_LABELS if key in labels}
        self.num_clips_of_untagged.update(code for code in codes if not has_tag(code))
        super().add(
            subset_split,
            cut_id,
            audio,
            labels,
            start=start,
            duration=duration,
            more_audio=more_audio,
            rejected_audio=rejected_audio,
            units=units,
            honesty=honesty,
        )

    def check_duration(self, audio: Path, start: Seconds, duration: Seconds | None, told: Seconds) -> None:
        """Compare a clip with the duration that somebody wrote down for it.

        Raises:
            DataError: they differ by more than ``OVERSHOOT``.
        """
        found = self._recording(audio).duration - start if duration is None else duration
        if abs(found - told) > OVERSHOOT:
            raise DataError(
                f"the clip lasts {found:.2f} s and was said to last {told:.2f} s; correct one of them"
            )

    def add_conversation(
        self,
        subset_split: str,
        cut_id: str,
        clips: Sequence[Path],
        labels: Mapping[str, Any],
        *,
        rejected_clips: Sequence[Path] = (),
    ) -> None:
        """Add a conversation over any number of clips, none included.

        Args:
            clips: in the order they are heard.
            labels: with ``conversation``.
            rejected_clips: those of the label ``rejected`` where they are others; custom fields
                ``rejected_audio_1``, ``rejected_audio_2`` ... of the cut.

        Raises:
            DataError: too many clips, one cannot be heard, an id came twice.
        """
        num_clips = max(len(clips), len(rejected_clips))
        if num_clips > MOST_CLIPS:
            raise DataError(
                f"{num_clips} clips in one conversation -- expected at most {MOST_CLIPS}; split it"
            )
        if clips:
            self.add(
                subset_split, cut_id, clips[0], labels, more_audio=clips[1:], rejected_audio=rejected_clips
            )
        else:
            self._add_text(subset_split, cut_id, labels)

    def _add_text(self, subset_split: str, cut_id: str, labels: Mapping[str, Any]) -> None:
        self._take_id(cut_id)
        seconds = 1 / TOKENS_PER_SECOND
        labels = {**labels, "honesty": dict.fromkeys(labels, "declared")}
        supervision = supervision_of(cut_id, seconds, labels, None)
        self._cuts.setdefault(subset_split, []).append(
            MonoCut(id=cut_id, start=0.0, duration=seconds, channel=0, supervisions=[supervision])
        )

    def _check_heard(self, audio: Path) -> None:
        if self._recording(audio).duration < SHORTEST:
            raise DataError(
                f"{audio} lasts under {SHORTEST * 1000:.0f} ms, too short to be heard; leave it out"
            )

    def _recording(self, audio: Path) -> Recording:
        """A file as a recording of 16 kHz, because only a cut's first clip is resampled when it is read."""
        return super()._recording(audio).resample(SAMPLES_PER_SECOND)


class ImportListing(AudioListing, ImportWriter):
    """Collects the files of an import."""

    def check_duration(self, audio: Path, start: Seconds, duration: Seconds | None, told: Seconds) -> None:
        """Take the file down."""
        self._check_heard(audio)

    def _check_heard(self, audio: Path) -> None:
        self.files[audio] = None
