"""Audio of a dialogue: a file, a span of a file, or a cut of another cut-set.

A further clip of a cut has to be a whole file. A span of one is therefore copied to a file beside the manifest, and so is a
cut that is not a span of a mono file.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lhotse.cut import Cut, MonoCut, MultiCut

from audio_lm.common.audio_units import Seconds
from audio_lm.common.errors import DataError
from audio_lm.corpora.imports.common import ImportOptions, parse_seconds, read_lines, resolve_audio_path
from audio_lm.corpora.imports.writer import ImportWriter
from audio_lm.data.manifest import shar
from audio_lm.data.manifest.cuts import cut_set_path
from audio_lm.data.manifest.json_lines import InvalidLineError, short_repr
from audio_lm.data.manifest.lhotse_cut import read_cut
from audio_lm.data.manifest.line import id_in

KEYS = frozenset({"path", "cut", "start", "end"})
_CUT_KEY = re.compile(r'"cut"\s*:\s*"((?:[^"\\]|\\.)*)"')


class AudioReference(NamedTuple):
    """Audio that a dialogue refers to."""

    path: Path
    """Its file, or byte range of a tar."""

    start: Seconds = 0.0
    duration: Seconds | None = None
    """None is up to the end."""

    cut: Cut | None = None
    """The cut, if it is not a plain span of ``path``."""

    @property
    def is_whole(self) -> bool:
        """True if it is a file, and not a part of one."""
        return self.cut is None and self.start == 0 and self.duration is None


class AudioReferences:
    """Resolve the audio of the dialogues in a file."""

    def __init__(self, path: Path, options: ImportOptions) -> None:
        """Remember where to look; cut-sets are read when the first of their cuts is needed."""
        self._path = path
        self._options = options
        self._found: dict[str, dict[str, Cut | str]] = {}
        self._names: dict[str, set[str]] | None = None

    def resolve(self, value: Any) -> AudioReference:
        """Look up an audio: the path of a file, or an object with ``path`` or ``cut``, and ``start`` and ``end``.

        Raises:
            DataError: it is none of them, or is missing.
        """
        if isinstance(value, str):
            return AudioReference(resolve_audio_path(value, self._path.parent, self._options))
        if (
            not isinstance(value, Mapping)
            or not value.keys() <= KEYS
            or len(value.keys() & {"path", "cut"}) != 1
        ):
            raise DataError(
                f"the audio is {short_repr(value)} -- expected a path, or an object with path or cut, and start and end "
                f"of a span; correct it"
            )
        start = parse_seconds("start", value.get("start", 0.0))
        end = None if value.get("end") is None else parse_seconds("end", value["end"])
        if end is not None and end <= start:
            raise DataError(
                f"the span is {start:g} to {end:g} s -- expected an end after the start; correct it"
            )
        duration = None if end is None else end - start
        if "path" in value:
            path = resolve_audio_path(value["path"], self._path.parent, self._options)
            return AudioReference(path, start, duration)
        return _of_cut(self._cut(value["cut"]), start, duration)

    def _cut(self, name: Any) -> Cut:
        """Cut of a name ``corpus/subset-split/id``.

        Raises:
            DataError: there is no such cut, or its line is invalid.
        """
        source, cut_id = _split_name(name)
        if source not in self._found:
            self._found[source] = self._read(source)
        cut = self._found[source].get(cut_id)
        if cut is None:
            raise DataError(
                f"cut {cut_id!r} is missing in {source!r}; correct the id, or prepare the cut-set again"
            )
        if isinstance(cut, str):
            raise DataError(f"cut {cut_id!r} of {source!r}: {cut}; repair its line")
        return cut

    def _read(self, source: str) -> dict[str, Cut | str]:
        """Cuts of a cut-set that the file refers to, or the fault of their lines."""
        if self._names is None:
            self._names = {}
            for _, text in read_lines(self._path):
                for match in _CUT_KEY.finditer(text):
                    corpus, cut_id = _split_name(json.loads(f'"{match[1]}"'))
                    self._names.setdefault(corpus, set()).add(cut_id)
        wanted = self._names.get(source, set())
        found: dict[str, Cut | str] = {}
        for line in shar.lines_of(cut_set_path(self._options.data_dir, source)):
            if (cut_id := id_in(line.text)) in wanted:
                try:
                    found[cut_id] = read_cut(line.text)
                except InvalidLineError as error:
                    found[cut_id] = str(error)
        return found


def clip_files(references: list[AudioReference], writer: ImportWriter, options: ImportOptions) -> list[Path]:
    """Files of clips that have to be whole files; parts of files are copied.

    Raises:
        DataError: a span passes the end of its file.
    """
    return [
        reference.path if reference.is_whole else _copy(reference, writer, options)
        for reference in references
    ]


def _copy(reference: AudioReference, writer: ImportWriter, options: ImportOptions) -> Path:
    known = [str(reference.path), reference.start, reference.duration]
    known += [reference.cut.id, reference.cut.duration] if reference.cut is not None else []
    digest = hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]
    return writer.copy_clip(
        f"{options.subset_split}-clips/{digest}.wav",
        reference.path,
        reference.cut,
        start=reference.start,
        duration=reference.duration,
    )


def _split_name(name: Any) -> tuple[str, str]:
    parts = name.split("/", 2) if isinstance(name, str) else []
    if len(parts) != 3 or not all(parts):
        raise DataError(f"the cut is {short_repr(name)} -- expected corpus/subset-split/id; correct it")
    return f"{parts[0]}/{parts[1]}", parts[2]


def _of_cut(cut: Cut, start: Seconds, duration: Seconds | None) -> AudioReference:
    """Reference to a cut, or to a span of it.

    Raises:
        DataError: the cut has no audio, or ends before the span.
    """
    if not cut.has_recording:
        raise DataError(f"cut {cut.id!r} has no audio; refer to another, or remove it")
    left = cut.duration - start
    if left <= 0 or (duration is not None and duration > left + 1e-6):
        raise DataError(f"cut {cut.id!r} ends at {cut.duration:g} s, before the span; correct the span")
    assert isinstance(cut, MonoCut | MultiCut)
    recording = cut.recording
    path = Path(recording.sources[0].source)
    # A clip is resampled when it is imported, whatever its cut-set does.
    is_changed = any(
        (transform if isinstance(transform, dict) else transform.to_dict())["name"] != "Resample"
        for transform in recording.transforms or ()
    )
    is_file = len(recording.sources) == 1 and recording.sources[0].type == "file"
    is_plain = is_file and recording.num_channels == 1 and not is_changed
    if is_plain:
        is_whole = start == 0 and duration is None and cut.start == 0 and cut.duration >= recording.duration
        return AudioReference(path) if is_whole else AudioReference(path, cut.start + start, duration or left)
    return AudioReference(path, cut=cut.truncate(offset=start, duration=duration or left))
