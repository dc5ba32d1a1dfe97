"""What all published corpora share: facts known before anything is on the disk, and cut-sets over the publisher's files.

Audio stays where the publisher's layout has it; a manifest holds absolute paths into it. A
corpus is one module with one ``CORPUS`` in it and one row in ``registry.py``.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
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
from audio_lm.corpora.channels import AVERAGE, Choice, note_on, selections, with_channels
from audio_lm.corpora.delimited import named, records
from audio_lm.corpora.published.download import Archive, downloaded, unpacked
from audio_lm.corpora.settings import Report, settings_of
from audio_lm.corpora.synthetic.writing import LABELS, in_recording, supervision_of
from audio_lm.data.audio.decode import AudioMeasurement
from audio_lm.data.audio.file_lengths import measure_files
from audio_lm.data.audio.recordings import recording_of

LATEST_START: Seconds = 0.5  # behind a file's end, by which the segments of corpora are known to be off
SHORTEST: Seconds = MIN_FRAMES * SAMPLES_PER_FRAME / SAMPLES_PER_SECOND


@dataclass(frozen=True)
class Subset:
    """How much there is of a cut-set, as its publisher says."""

    hours: float
    clips: int


@dataclass(frozen=True)
class Facts:
    """What somebody wants to know before downloading."""

    what: str
    """In one line."""

    licence: str

    url: str
    """Where it is described."""

    tasks: tuple[str, ...] = ()
    """It has labels for."""

    subsets: Mapping[str, Subset] = field(default_factory=dict)
    """``subset-split`` of every manifest -> its size."""


@dataclass(frozen=True)
class PublishedSettings:
    """Where a published corpus lies, or that it may be fetched."""

    source: str = ""
    """Folder that holds it in its publisher's layout."""

    download: bool = False
    """Fetch it from its publisher when no source is given."""


class CutSetWriter:
    """Collects cuts over audio files that are somebody else's, and writes one manifest per subset and split."""

    remedy = "convert the files where one channel is wanted"
    """For files whose channels differ strongly."""

    def __init__(
        self,
        folder: Path,
        corpus: str,
        *,
        channel: Choice = AVERAGE,
        measured: Mapping[Path, AudioMeasurement | str] | None = None,
    ) -> None:
        """Begin without a cut.

        Args:
            channel: what is taken of files of several channels.
            measured: what ``measure_files`` says; others are measured when they come.
        """
        self.folder = folder
        self.corpus = corpus
        self.channel = channel
        self.num_left_out = 0
        self._measured = dict(measured or {})
        self._without_sound: list[str] = []
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
        honesty: str = "exact",
    ) -> None:
        """Add a clip with what is known about it.

        Clips too short to be heard are left out and counted; those over 30 s are
        kept, because a recipe says what becomes of them.

        Args:
            subset_split: the manifest, such as ``clean-test``.
            audio: the file; ``start`` and ``duration`` choose a part of it.
            labels: keys of ``LABELS``.
            more_audio: further clips, custom fields ``audio_2`` ...
            rejected_audio: custom fields ``rejected_audio_1`` ...
            units: word, start, end in seconds from the clip's start.
            honesty: of the labels: ``exact`` by people, ``declared`` or ``proxy``.

        Raises:
            DataError: the file is missing or no audio, an id came twice.
            ValueError: an unknown label.
        """
        if strangers := labels.keys() - LABELS:
            raise ValueError(f"cut {cut_id!r}: {sorted(strangers)} are no labels; there are {sorted(LABELS)}")
        recording = self._recording(audio)
        more = {f"audio_{number}": self._recording(path) for number, path in enumerate(more_audio, start=2)}
        more |= {
            f"rejected_audio_{number}": self._recording(path) for number, path in enumerate(rejected_audio, 1)
        }
        seconds = self._seconds(cut_id, recording, start, duration)
        if seconds < SHORTEST:
            self.num_left_out += 1
            return
        labels = {**labels, "honesty": dict.fromkeys(labels, honesty)}
        cut = MonoCut(
            id=cut_id,
            start=start,
            duration=seconds,
            channel=0,
            recording=recording,
            supervisions=[in_recording(supervision_of(cut_id, seconds, labels, units), recording, start)],
            custom=more or None,
        )
        for selection in selections(self.channel, [one.num_channels for one in (recording, *more.values())]):
            self._take_id(cut_id + selection.suffix)
            self._cuts.setdefault(subset_split, []).append(with_channels(cut, selection))

    def _take_id(self, cut_id: str) -> None:
        if cut_id in self._ids:
            raise DataError(f"{self.corpus}: id {cut_id!r} came twice; is a file listed twice?")
        self._ids.add(cut_id)

    def leave_out(self, cut_id: str) -> None:
        """Count a clip that its publisher lists but whose sound is not to be had, such as that of a video which is gone."""
        self._without_sound.append(cut_id)

    def _seconds(
        self, cut_id: str, recording: Recording, start: Seconds, duration: Seconds | None
    ) -> Seconds:
        """How long the part of a file is that a cut asks for."""
        left = recording.duration - start
        if left < -LATEST_START:
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
            raise DataError(f"{self.corpus}: not one clip was found; is the layout the publisher's?")
        for subset_split, cuts in self._cuts.items():
            with (self.folder / f"{subset_split}.jsonl").open("w", encoding="utf-8") as manifest:
                for cut in cuts:
                    manifest.write(json.dumps(cut.to_dict(), ensure_ascii=False) + "\n")
            hours = sum(cut.duration for cut in cuts) / 3600
            long = sum(cut.duration > MAX_SECONDS for cut in cuts)
            note = f", {long} of them over {MAX_SECONDS:.0f} s" if long else ""
            report(f"{self.corpus}: {subset_split}, {len(cuts)} clips, {hours:.2f} h{note}")
        if self.num_left_out:
            report(f"{self.corpus}: {self.num_left_out} clips under 30 ms were left out")
        if gone := self._without_sound:
            report(f"{self.corpus}: {len(gone)} clips have no sound and were left out, such as {gone[0]!r}")
        if differing := self._note_on_channels():
            report(f"{self.corpus}: {differing}")

    def _note_on_channels(self) -> str | None:
        if self.channel != AVERAGE:
            return None
        found = {path: self._measured[path] for path in self._recordings}
        return note_on({path: one for path, one in found.items() if not isinstance(one, str)}, self.remedy)

    def _recording(self, audio: Path) -> Recording:
        if audio not in self._recordings:
            if not audio.exists():
                raise DataError(f"{self.corpus}: {audio} is missing; unpack the corpus completely")
            if audio not in self._measured:
                self._measured |= measure_files([audio], lambda line: None)
            found = self._measured[audio]
            if isinstance(found, str):
                raise DataError(
                    f"{self.corpus}: {audio} is no audio that can be used: it {found}; replace the file"
                )
            self._recordings[audio] = recording_of(audio, found)
        return self._recordings[audio]


class AudioListing(CutSetWriter):
    """Collects the files of what would be written, so that all of them are measured together before."""

    def __init__(self, folder: Path, corpus: str) -> None:
        super().__init__(folder, corpus)
        self.files: dict[Path, None] = {}

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
        honesty: str = "exact",
    ) -> None:
        """Take the files of a clip down."""
        self.files |= dict.fromkeys((audio, *more_audio, *rejected_audio))


@dataclass(frozen=True)
class Published:
    """A corpus that somebody else made."""

    name: str
    facts: Facts

    read: Callable[[Path, CutSetWriter], None]
    """From the folder in the publisher's layout into the writer."""

    archives: tuple[Archive, ...] = ()
    """What is downloaded and unpacked, each into one common folder."""

    by_hand: str = ""
    """How to get it where it cannot simply be downloaded."""

    version: int = 2  # lengths are counted, and channels averaged

    def read_settings(self, given: Mapping[str, Any]) -> PublishedSettings:
        """The settings, defaults filled in."""
        return settings_of(PublishedSettings, self.name, given)

    def write(self, folder: Path, final_folder: Path, settings: PublishedSettings, report: Report) -> None:
        """Write the manifests.

        Raises:
            DataError: the corpus is not there, or not in its publisher's layout.
        """
        source = self._source(settings, final_folder.parent / "downloads" / self.name, report)
        listing = AudioListing(folder, self.name)
        self.read(source, listing)
        files = [path for path in listing.files if path.is_file()]  # the others are named with their clip
        writer = CutSetWriter(folder, self.name, measured=measure_files(files, report))
        self.read(source, writer)
        writer.close(report)

    def _source(self, settings: PublishedSettings, downloads: Path, report: Report) -> Path:
        place = f"set corpora.{self.name}.source to the folder that holds it"
        if settings.source:
            source = Path(settings.source)
            if not source.is_dir():
                raise DataError(f"{self.name}: {source} is not a folder; {place}")
            return source
        if not self.archives:
            raise DataError(
                f"{self.name} has to be fetched by hand ({self.by_hand or self.facts.url}); then {place}"
            )
        if not settings.download:
            raise DataError(
                f"{self.name} is not here; set corpora.{self.name}.download=true to fetch it, or {place}"
            )
        for archive in self.archives:
            path = downloaded(archive, downloads / archive.file_name, report, otherwise=place)
            unpacked(path, downloads / "unpacked" / archive.file_name, report)
        return downloads / "unpacked"


def folders_with(source: Path, *entries: str) -> list[Path]:
    """The folders of a corpus: the one that was named, or those up to two levels below it.

    Users name the corpus or what holds it, and every archive is unpacked into a folder of its own.

    Args:
        entries: files or folders; a folder of the corpus has one of them.

    Raises:
        DataError: there is no such folder.
    """
    candidates = [source, *sorted(source.glob("*")), *sorted(source.glob("*/*"))]
    found = [folder for folder in candidates if any((folder / entry).exists() for entry in entries)]
    if not found:
        raise DataError(
            f"{source} and the folders in it hold none of {', '.join(entries)}; name the corpus's folder"
        )
    return found


def sound_at(stem: Path) -> Path:
    """The file of a clip whose publisher sends no sound, so that its ending is the user's: FLAC if there is one, or WAV."""
    flac = stem.with_name(f"{stem.name}.flac")
    return flac if flac.is_file() else stem.with_name(f"{stem.name}.wav")


def table(
    path: Path, *, separator: str = ",", columns: Sequence[str] = (), escape: str | None = None
) -> list[dict[str, str]]:
    """The rows of a CSV or TSV file.

    Args:
        columns: names, where the file has no heading.
        escape: the sign that stands before signs which mean themselves.

    Raises:
        DataError: the file is missing or no such table, or a row has another number of columns; names the line.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing; is the folder the one that holds the corpus?")
    names, lines = records(path, separator=separator, columns=columns, escape=escape)
    found = []
    for line, cells in lines:
        try:
            found.append(named(names, cells))
        except DataError as error:
            raise DataError(f"{path}:{line}: {error}") from error
    return found


def json_rows(path: Path, wanted: Collection[str]) -> list[dict[str, Any]]:
    """The rows of a JSON file that is a list of objects.

    Args:
        wanted: keys of every row.

    Raises:
        DataError: it is no such file, or a row lacks a key; names the row.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path} is no JSON ({error}); download it again") from error
    if not isinstance(rows, list):
        raise DataError(
            f"{path} holds a {type(rows).__name__} where a list of rows is wanted; download it again"
        )
    for number, row in enumerate(rows, start=1):
        there = row if isinstance(row, dict) else {}
        if missing := [key for key in wanted if there.get(key) in (None, "")]:
            raise DataError(f"{path}: row {number} has no {', '.join(missing)}; repair the row")
    return rows
