"""Common parts of published corpora: facts, settings, and cut-sets that point to the publisher's files.

Audio files are not copied; manifests contain absolute paths into the publisher's layout. A corpus is one module with a
``CORPUS`` and one row in ``registry.py``.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lhotse import MonoCut, Recording
from lhotse.cut.data import DataCut

from audio_lm.common.audio_units import (
    MAX_SECONDS,
    MIN_FRAMES,
    SAMPLES_PER_FRAME,
    SAMPLES_PER_SECOND,
    Seconds,
)
from audio_lm.common.errors import DataError
from audio_lm.common.progress import progress
from audio_lm.common.protocols import Advance, Report, ignore_advance
from audio_lm.corpora.channels import AVERAGE, Choice, channel_note, select_channels, selections
from audio_lm.corpora.delimited import read_records, record_dict
from audio_lm.corpora.labels import check_label_names, in_recording, supervision_of
from audio_lm.corpora.published.download import Archive, download, unpack
from audio_lm.corpora.settings import parse_settings
from audio_lm.data.audio.decode import AudioMeasurement
from audio_lm.data.audio.file_lengths import measure_files
from audio_lm.data.audio.recordings import recording_of
from audio_lm.data.manifest.shar import file_holding

# By which a segment may start past the end of its file; segments of published corpora are known to be off.
MAX_START_OVERSHOOT: Seconds = 0.5
MIN_SECONDS: Seconds = MIN_FRAMES * SAMPLES_PER_FRAME / SAMPLES_PER_SECOND
MIN_CLIPS = 2_000  # fewer take no second, and show no progress


@dataclass(frozen=True)
class Subset:
    """Size of a cut-set, as published."""

    hours: float
    clips: int


@dataclass(frozen=True)
class Facts:
    """Facts about a corpus that need no files."""

    what: str
    """Description in one line."""

    licence: str

    url: str
    """Page that describes it."""

    tasks: tuple[str, ...] = ()
    """Tasks that it has labels for."""

    subsets: Mapping[str, Subset] = field(default_factory=dict)
    """``subset-split`` of every manifest -> its size."""


@dataclass(frozen=True)
class PublishedSettings:
    """Settings of a published corpus."""

    source: str = ""
    """Folder with the corpus in its publisher's layout."""

    download: bool = False
    """Download it when no source is given."""


@dataclass(frozen=True)
class NewCut:
    """A cut to be written; the arguments of ``CutSetWriter.add``."""

    cut_id: str
    audio: Path
    labels: Mapping[str, Any]
    start: Seconds = 0.0
    duration: Seconds | None = None
    more_audio: Sequence[Path] = ()
    rejected_audio: Sequence[Path] = ()
    units: Sequence[tuple[str, float, float]] | None = None
    honesty: str | None = None

    @property
    def further_audio(self) -> tuple[Path, ...]:
        """Files of all clips but the first."""
        return (*self.more_audio, *self.rejected_audio)


class CutSetWriter:
    """Collect cuts of existing audio files and write one manifest per subset and split."""

    remedy = "convert the files to select one channel"  # for averaged files whose channels differ strongly
    honesty = "exact"  # of labels, unless ``add`` gets another
    has_own_labels = False  # beside those of the table of labels

    def __init__(
        self,
        folder: Path,
        corpus: str,
        *,
        channel: Choice = AVERAGE,
        measured: Mapping[Path, AudioMeasurement | str] | None = None,
        advance: Advance = ignore_advance,
    ) -> None:
        """Start with no cuts.

        Args:
            channel: selection for files with several channels.
            measured: results of ``measure_files``; other files are measured when they are added.
            advance: called with the number of clips that were added, one by one.
        """
        self.folder = folder
        self.corpus = corpus
        self.channel = channel
        self.num_left_out = 0
        self.num_added = 0
        self._advance = advance
        self._measured = dict(measured or {})
        self._without_audio: list[str] = []
        self._cuts: dict[str, list[DataCut]] = {}
        self._ids: set[str] = set()
        self._recordings: dict[Path, Recording] = {}

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
        honesty: str | None = None,
    ) -> None:
        """Add a clip with its labels.

        Clips under 30 ms are dropped and counted. Clips over 30 s are kept, because a recipe decides how they are handled
        (``long_audio``).

        Args:
            subset_split: the manifest, such as ``clean-test``.
            audio: the file; ``start`` and ``duration`` select a segment.
            labels: keys of ``tasks.labels.LABELS``, or any if ``has_own_labels``.
            more_audio: further clips; custom fields ``audio_2`` ...
            rejected_audio: clips of the label ``rejected``; custom fields ``rejected_audio_1`` ...
            units: word, start, end in seconds from the clip's start.
            honesty: of the labels: ``exact``, ``declared`` or ``proxy``.

        Raises:
            DataError: the file is missing or unreadable, or the id is a duplicate.
            ValueError: an unknown label.
        """
        clip = NewCut(
            cut_id, audio, labels, start, duration, more_audio, rejected_audio, units, honesty or self.honesty
        )
        self._count()
        self._add(subset_split, clip)

    def _count(self) -> None:
        self.num_added += 1
        self._advance(1)

    def _add(self, subset_split: str, clip: NewCut) -> None:
        if not self.has_own_labels:
            check_label_names(clip.cut_id, clip.labels)
        recording = self._recording(clip.audio)
        further = {f"audio_{number}": path for number, path in enumerate(clip.more_audio, start=2)}
        further |= {f"rejected_audio_{number}": path for number, path in enumerate(clip.rejected_audio, 1)}
        custom = {name: self._recording(path) for name, path in further.items()}
        seconds = self._seconds(clip.cut_id, recording, clip.start, clip.duration)
        if seconds < MIN_SECONDS:
            self.num_left_out += 1
            return
        labels = {**clip.labels, "honesty": dict.fromkeys(clip.labels, clip.honesty)}
        supervision = supervision_of(clip.cut_id, seconds, labels, clip.units)
        cut = MonoCut(
            id=clip.cut_id,
            start=clip.start,
            duration=seconds,
            channel=0,
            recording=recording,
            supervisions=[in_recording(supervision, recording, clip.start)],
            custom=custom or None,
        )
        for selection in selections(
            self.channel, [rec.num_channels for rec in (recording, *custom.values())]
        ):
            self._reserve_id(clip.cut_id + selection.suffix)
            self._cuts.setdefault(subset_split, []).append(select_channels(cut, selection))

    def _reserve_id(self, cut_id: str) -> None:
        if cut_id in self._ids:
            raise DataError(f"{self.corpus}: duplicate id {cut_id!r}; is a file listed twice?")
        self._ids.add(cut_id)

    def leave_out(self, cut_id: str) -> None:
        """Count a listed clip without audio, such as a video that was taken offline."""
        self._without_audio.append(cut_id)

    def _seconds(
        self, cut_id: str, recording: Recording, start: Seconds, duration: Seconds | None
    ) -> Seconds:
        """Duration of a segment, limited to the end of its file."""
        left = recording.duration - start
        if left < -MAX_START_OVERSHOOT:
            raise DataError(
                f"{self.corpus}: {cut_id!r} starts at {start:.2f} s of {recording.sources[0].source}, which has "
                f"{recording.duration:.2f} s; correct the segment"
            )
        return left if duration is None else min(duration, left)

    def close(self, report: Report) -> None:
        """Write all manifests.

        Raises:
            DataError: there is nothing to write.
        """
        if not self._cuts:
            raise DataError(f"{self.corpus}: no clip was found; is the layout the publisher's?")
        for subset_split, cuts in self._cuts.items():
            shown = progress(f"writing {subset_split}", total=len(cuts), what="clips", min_total=MIN_CLIPS)
            with (
                shown as advance,
                (self.folder / f"{subset_split}.jsonl").open("w", encoding="utf-8") as file,
            ):
                for cut in cuts:
                    file.write(json.dumps(cut.to_dict(), ensure_ascii=False) + "\n")
                    advance(1)
            hours = sum(cut.duration for cut in cuts) / 3600
            long = sum(cut.duration > MAX_SECONDS for cut in cuts)
            note = f", {long} of them over {MAX_SECONDS:.0f} s" if long else ""
            report(f"{self.corpus}: {subset_split}, {len(cuts)} clips, {hours:.2f} h{note}")
        if self.num_left_out:
            report(f"{self.corpus}: {self.num_left_out} clips under 30 ms were left out")
        if missing := self._without_audio:
            report(
                f"{self.corpus}: {len(missing)} clips have no audio and were left out, such as {missing[0]!r}"
            )
        if differing := self._note_on_channels():
            report(f"{self.corpus}: {differing}")

    def _note_on_channels(self) -> str | None:
        if self.channel != AVERAGE:
            return None
        results = {path: self._measured[path] for path in self._recordings}
        measured = {path: result for path, result in results.items() if not isinstance(result, str)}
        return channel_note(measured, self.remedy)

    def _recording(self, audio: Path) -> Recording:
        if audio not in self._recordings:
            if not file_holding(str(audio)).exists():
                raise DataError(f"{self.corpus}: {audio} is missing; unpack the corpus completely")
            if audio not in self._measured:
                self._measured |= measure_files([audio])
            measured = self._measured[audio]
            if isinstance(measured, str):
                raise DataError(f"{self.corpus}: {audio} is unusable: it {measured}; replace the file")
            self._recordings[audio] = recording_of(audio, measured)
        return self._recordings[audio]


class AudioListing(CutSetWriter):
    """Collect the audio files of a corpus, to measure them in parallel before its cuts are written."""

    def __init__(self, folder: Path, corpus: str) -> None:
        super().__init__(folder, corpus)
        self.files: dict[Path, None] = {}

    def _add(self, subset_split: str, clip: NewCut) -> None:
        self.files |= dict.fromkeys((clip.audio, *clip.further_audio))


@dataclass(frozen=True)
class PublishedCorpus:
    """A corpus by another publisher."""

    name: str
    facts: Facts

    read: Callable[[Path, CutSetWriter], None]
    """Add all clips of a folder in the publisher's layout to the writer."""

    archives: tuple[Archive, ...] = ()
    """Archives to download and to unpack side by side."""

    by_hand: str = ""
    """Instructions for a manual download."""

    version: int = 2  # since lengths are counted by decoding, and channels averaged

    def read_settings(self, given: Mapping[str, Any]) -> PublishedSettings:
        """Parse the settings of a recipe."""
        return parse_settings(PublishedSettings, self.name, given)

    def write(self, folder: Path, final_folder: Path, settings: PublishedSettings, report: Report) -> None:
        """Write the manifests.

        Raises:
            DataError: the corpus is missing, or not in its publisher's layout.
        """
        source = self._find_source(settings, final_folder.parent / "downloads" / self.name, report)
        listing = AudioListing(folder, self.name)
        self.read(source, listing)
        # For missing files, the writer names the clip.
        files = [path for path in listing.files if path.is_file()]
        measured = measure_files(files)
        with progress("reading clips", total=listing.num_added, what="clips", min_total=MIN_CLIPS) as advance:
            writer = CutSetWriter(folder, self.name, measured=measured, advance=advance)
            self.read(source, writer)
        writer.close(report)

    def _find_source(self, settings: PublishedSettings, downloads: Path, report: Report) -> Path:
        alternative = f"set corpora.{self.name}.source to the folder that contains it"
        if settings.source:
            source = Path(settings.source)
            if not source.is_dir():
                raise DataError(f"{self.name}: {source} is not a folder; {alternative}")
            return source
        if not self.archives:
            raise DataError(
                f"{self.name} needs a manual download ({self.by_hand or self.facts.url}); then {alternative}"
            )
        if not settings.download:
            raise DataError(
                f"{self.name} is missing; set corpora.{self.name}.download=true to download it, or {alternative}"
            )
        for archive in self.archives:
            path = download(archive, downloads / archive.file_name, report, alternative=alternative)
            unpack(path, downloads / "unpacked" / archive.file_name, report)
        return downloads / "unpacked"


def find_folders(source: Path, *entries: str) -> list[Path]:
    """Find the folders of a corpus: the given one, or those up to two levels below it.

    Users give the corpus or a parent folder, and each archive is unpacked to a folder of its own.

    Args:
        entries: files or folders; a folder of the corpus contains one of them.

    Raises:
        DataError: no folder matches.
    """
    candidates = [source, *sorted(source.glob("*")), *sorted(source.glob("*/*"))]
    folders = [folder for folder in candidates if any((folder / entry).exists() for entry in entries)]
    if not folders:
        raise DataError(
            f"{source} and the folders in it contain none of {', '.join(entries)}; give the folder of the corpus"
        )
    return folders


def find_audio(stem: Path) -> Path:
    """Path of a clip that users obtain themselves, in a format of theirs: FLAC if it exists, else WAV."""
    flac = stem.with_name(f"{stem.name}.flac")
    return flac if flac.is_file() else stem.with_name(f"{stem.name}.wav")


def read_table_rows(
    path: Path, *, separator: str = ",", columns: Sequence[str] = (), escape: str | None = None
) -> list[dict[str, str]]:
    """Read the rows of a CSV or TSV file.

    Args:
        columns: names, for a file without a header.
        escape: escape character.

    Raises:
        DataError: the file is missing or malformed, or a row has the wrong number of cells; names the line.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing; is the folder the one that contains the corpus?")
    names, lines = read_records(path, separator=separator, columns=columns, escape=escape)
    rows = []
    for line, cells in lines:
        try:
            rows.append(record_dict(names, cells))
        except DataError as error:
            raise DataError(f"{path}:{line}: {error}") from error
    return rows
