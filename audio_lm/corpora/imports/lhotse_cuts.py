"""Cut-sets of Lhotse: cuts, recordings with supervisions, or Shar; each cut keeps its supervisions and custom fields.

Lines are checked as they are before a run, so that what cannot be read is refused here, with its cure. Audio stays in
place, also in the tars of Shar.

Source: lhotse 1.33, ``cut/base.py`` (``trim_to_supervisions``), ``kaldi.py`` (recordings that are commands).
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lhotse.cut.data import DataCut

from audio_lm.common.errors import DataError, UserError, first_line
from audio_lm.common.languages import language_code
from audio_lm.corpora.channels import AVERAGE
from audio_lm.corpora.imports.bad_lines import EmptyRowError
from audio_lm.corpora.imports.common import ImportOptions, refuse_columns, resolve_audio_path
from audio_lm.corpora.imports.decoder_pipes import file_of_pipe
from audio_lm.corpora.imports.labels import GENDERS, NON_TARGET_LABELS
from audio_lm.corpora.imports.lhotse_manifests import find_cuts
from audio_lm.corpora.imports.writer import ImportWriter
from audio_lm.corpora.published.base import MIN_SECONDS
from audio_lm.data.manifest.json_lines import InvalidLineError, short_repr
from audio_lm.data.manifest.labels import labels_of
from audio_lm.data.manifest.lhotse_cut import build_cut
from audio_lm.data.manifest.line import check_cut, recording_fields

NAME = "lhotse"
ROUNDING = 0.5  # seconds by which a supervision may pass the end of its cut


def read(path: Path, writer: ImportWriter, options: ImportOptions) -> None:
    """Import a manifest of cuts or recordings, a Shar folder, or the folder of one of them.

    Raises:
        DataError: there is no manifest, or bad lines, all in one message.
        UserError: the channel was chosen.
    """
    refuse_columns(options, NAME)
    if options.channel != AVERAGE:
        raise UserError(
            f"channel {options.channel!r} was given, but cuts of Lhotse name their channels; omit it"
        )
    reader = CutReader(path if path.is_dir() else path.parent, options)
    for item, table in find_cuts(path, options.supervisions, writer):
        with writer.bad.collect(item.path, item.line, item.number):
            for cut in reader.clips(item.parse() if table is None else table):
                writer.add_cut(options.subset_split, cut)
    writer.bad.raise_errors()
    writer.notes += reader.notes()


class CutReader:
    """Turn the JSON of cuts into clips, and count what is left out."""

    def __init__(self, folder: Path, options: ImportOptions) -> None:
        """Start with no counts.

        Args:
            folder: of the manifest; base of paths that do not exist in the working directory, where Lhotse reads them.
        """
        self._folder = folder
        self._options = options
        self._left_out: Counter[str] = Counter()
        self._num_untrimmed = 0

    def clips(self, table: dict[str, Any]) -> Iterator[DataCut]:
        """Clips of a cut: itself, or with the option ``trim`` one of each supervision.

        Raises:
            DataError: the cut cannot be read, or has no label.
        """
        supervisions = table.get("supervisions")
        is_plain = table.get("type") not in ("PaddingCut", "MixedCut")  # others are refused below
        if is_plain and not supervisions:
            self._left_out["cuts without supervisions"] += 1
            return
        try:
            if not is_plain or not isinstance(supervisions, list):
                check_cut(table)
            self._prepare(table)
            cuts = self._trim(table) if self._options.trim else [build_cut(_checked(table))]
        except InvalidLineError as error:
            raise DataError(str(error)) from error
        labelled = [cut for cut in cuts if _has_label(cut)]
        if not labelled:
            raise EmptyRowError(f"cut {short_repr(table['id'])} has no text and no other label")
        self._left_out["supervisions without a label"] += len(cuts) - len(labelled)
        self._num_untrimmed += len(table["supervisions"]) > 1 and not self._options.trim
        yield from labelled

    def notes(self) -> list[str]:
        """Sentences on what was left out."""
        counts = [f"{count} {what}" for what, count in sorted(self._left_out.items()) if count]
        notes = [f"left out: {', '.join(counts)}"] if counts else []
        if self._num_untrimmed:
            notes.append(
                f"{self._num_untrimmed} cuts have several supervisions; --trim makes a clip of each supervision"
            )
        return notes

    def _prepare(self, table: dict[str, Any]) -> None:
        """Change a cut of an older release, paths, languages and genders in place; leave out what is not read."""
        if table.get("type") == "Cut":
            table["type"] = "MonoCut"
        if table.get("type") == "MultiCut" and type(table.get("channel")) is int:
            table["channel"] = [table["channel"]]
        if table.get("recording") is not None:
            self._left_out["features of cuts"] += table.pop("features", None) is not None
        for source in _sources(table):
            self._prepare_source(source)
        for supervision in table["supervisions"]:
            if isinstance(supervision, dict):
                self._prepare_supervision(supervision)

    def _prepare_source(self, source: dict[str, Any]) -> None:
        """Change a command that decodes a file to the file, and a path to an absolute one.

        A path starts in the working directory, as Lhotse reads it, if the file is there; else in the manifest's folder.
        """
        where = source.get("source")
        if source.get("type") == "command" and isinstance(where, str):
            source["type"], where = "file", file_of_pipe(f"{where.rstrip(' |')} |", averages=False)
        if source.get("type") == "file":
            is_here = self._options.audio_root is None and isinstance(where, str) and Path(where).is_file()
            folder = Path() if is_here else self._folder
            source["source"] = str(resolve_audio_path(where, folder, self._options))

    def _prepare_supervision(self, supervision: dict[str, Any]) -> None:
        if isinstance(text := supervision.get("text"), str) and not text.strip():
            del supervision["text"]
        language = supervision.get("language") or self._options.language
        if language is not None:
            supervision["language"] = language_code(language)
        if isinstance(gender := supervision.get("gender"), str):
            supervision["gender"] = GENDERS.get(gender.lower(), gender)
        if isinstance(alignment := supervision.get("alignment"), dict):
            for kind in alignment.keys() - {"word"}:
                self._left_out[f"alignments of kind {kind!r}"] += 1
                del alignment[kind]

    def _trim(self, table: dict[str, Any]) -> list[DataCut]:
        """One cut of each supervision, with its channels."""
        _check_before_trim(table)
        cuts = []
        try:
            trimmed = list(build_cut(table).trim_to_supervisions(keep_overlapping=False))
        except Exception as error:  # assertions of Lhotse about times and channels
            raise DataError(
                f"lhotse cannot trim the cut to its supervisions ({first_line(error)}); correct their times"
            ) from error
        for cut in trimmed:
            if cut.duration < MIN_SECONDS:
                self._left_out[f"supervisions under {MIN_SECONDS * 1000:.0f} ms"] += 1
                continue
            cuts.append(build_cut(_checked(json.loads(json.dumps(cut.to_dict())))))
        return cuts


def _sources(table: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Audio sources in the unchecked JSON of a cut."""
    custom = table.get("custom")
    further = custom if isinstance(custom, dict) else {}
    for recording in (table.get("recording"), *(further[name] for name in recording_fields(further))):
        sources = recording.get("sources") if isinstance(recording, dict) else None
        yield from (one for one in sources if isinstance(one, dict)) if isinstance(sources, list) else ()


def _checked(table: dict[str, Any]) -> dict[str, Any]:
    check_cut(table)
    return table


def _check_before_trim(table: dict[str, Any]) -> None:
    """Check a cut whose supervisions may be of single channels, and their channels and times.

    Raises:
        InvalidLineError: the cut is invalid, or a supervision lies outside it.
    """
    channel = table.get("channel")
    channels = channel if isinstance(channel, list) else [channel]
    same = [one | {"channel": channel} for one in table["supervisions"] if isinstance(one, dict)]
    check_cut(table | {"supervisions": same if len(same) == len(table["supervisions"]) else [None]})
    for supervision in table["supervisions"]:
        given = supervision.get("channel", 0)
        if unknown := [one for one in (given if isinstance(given, list) else [given]) if one not in channels]:
            raise InvalidLineError(
                f"a supervision has the channels {short_repr(unknown)} -- expected some of the cut, {channels}; correct them"
            )
    for supervision in table["supervisions"]:
        start = supervision.get("start", 0.0)
        end = start + supervision["duration"]
        if start < -ROUNDING or end > table["duration"] + ROUNDING:
            raise InvalidLineError(
                f"a supervision lasts from {start:.2f} to {end:.2f} s of a cut of {table['duration']:.2f} s; correct it"
            )


def _has_label(cut: DataCut) -> bool:
    """True if a cut has a label to train on."""
    labels = labels_of(cut)
    return bool((labels.keys() | labels.unclear.keys()) - NON_TARGET_LABELS)
