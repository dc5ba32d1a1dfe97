"""Find and read Lhotse's manifests: cuts, recordings with supervisions, Shar, or the folder that one of its recipes wrote.

Lines are read as plain JSON, because Lhotse's own reader builds any object that a line names.

Source: lhotse 1.33, ``serialization.py`` (extensions), ``qa.py``, ``cut/set.py`` (``create_cut_set_eager``), and the names
of manifests of ``recipes/``, such as ``librispeech_recordings_dev-clean.jsonl.gz``.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from audio_lm.common.errors import DataError, UserError
from audio_lm.corpora.imports.common import list_items
from audio_lm.corpora.imports.writer import ImportWriter
from audio_lm.data.manifest import shar
from audio_lm.data.manifest.json_lines import InvalidLineError, lines_in, parse_line, short_repr

ENDINGS = (".jsonl", ".jsonl.gz", ".json")
CONVERT = "convert it with `lhotse copy {name} {stem}.jsonl.gz`"
RECORDINGS, SUPERVISIONS, CUTS = "recordings", "supervisions", "cuts"


class Item(NamedTuple):
    """Object of a manifest, before it is parsed."""

    path: Path
    line: int
    number: int | None
    """Of the object, in a file that is one list."""

    text: bytes

    def parse(self) -> dict[str, Any]:
        """Parse the object.

        Raises:
            DataError: it is not a JSON object.
        """
        try:
            table = parse_line(self.text)
        except InvalidLineError as error:
            raise DataError(f"{error}; repair the line") from error
        if not isinstance(table, dict):
            raise DataError(f"{short_repr(table)} -- expected a JSON object; repair the line")
        return table


def items_of(path: Path) -> Iterator[Item]:
    """Iterate over the objects of a manifest file, or over the cuts of a Shar folder.

    Raises:
        DataError: the file cannot be read, or has another extension.
    """
    if path.is_dir():
        yield from (Item(line.file, line.number, None, line.text) for line in shar.lines_of(path))
    elif not path.name.endswith(ENDINGS):
        cure = CONVERT.format(name=path.name, stem=path.name.partition(".")[0])
        raise DataError(f"{path} -- expected a manifest {', '.join(ENDINGS)}; if it is one, {cure}")
    elif path.suffix == ".json":
        for number, (line, text) in enumerate(list_items(path), start=1):
            yield Item(path, line, number, text.encode())
    else:
        lines = (Item(line.file, line.number, None, line.text) for line in lines_in(path))
        yield from (line for line in lines if line.text.strip())


def find_cuts(path: Path, supervisions: Path | None, writer: ImportWriter) -> Iterator[tuple[Item, Any]]:
    """Iterate over cuts, each with the item of its line and a JSON object, or None for an object that is still to be parsed.

    Args:
        path: of a manifest file, a Shar folder, or a folder of manifests.
        supervisions: of the recordings at ``path``.

    Raises:
        DataError: there is no manifest, or several.
        UserError: supervisions were given for cuts.
    """
    is_shar = path.is_dir() and shar.is_shar(path)
    if path.is_dir() and not is_shar:
        path = _manifest_in(path)
    kind = CUTS if is_shar else _kind_of_file(path)
    if kind == RECORDINGS:
        yield from _with_supervisions(path, supervisions or _beside(path), writer)
        return
    if kind != CUTS:
        raise DataError(
            f"{path} has {kind} -- expected cuts, or recordings; give the manifest of the recordings, "
            f"and this one as --supervisions"
            if kind == SUPERVISIONS
            else f"{path} has {kind} -- expected cuts, or recordings; give the manifest of the audio"
        )
    if supervisions is not None:
        raise UserError(f"{path} has cuts, which contain their supervisions; omit --supervisions")
    if is_shar:
        _note_fields(path, writer)
    yield from ((item, None) for item in items_of(path))


def kind_of(table: dict[str, Any]) -> str:
    """Kind of the manifest that an object is from."""
    if "sources" in table:
        return RECORDINGS
    if "storage_path" in table:
        return "features"
    if "recording_id" in table:
        return SUPERVISIONS
    return (
        CUTS
        if table.keys() & {"tracks", "recording", "features", "supervisions", "type"}
        else "no manifest of Lhotse"
    )


def _kind_of_file(path: Path) -> str:
    for item in items_of(path):
        try:
            return kind_of(item.parse())
        except DataError:
            continue  # reported later, with its line
    raise DataError(f"{path} has no objects; is it the right file?")


def _manifest_in(folder: Path) -> Path:
    """Only manifest of cuts or recordings in a folder."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name.endswith(ENDINGS))
    found = [path for path in files if re.search(f"{CUTS}|{RECORDINGS}", path.name)]
    if len(found) != 1:
        names = f": {', '.join(path.name for path in found)}" if found else ""
        raise DataError(
            f"{folder} has {len(found)} manifests of cuts or recordings{names} -- expected one; give the path of a file"
        )
    return found[0]


def _beside(recordings: Path) -> Path:
    """Supervisions next to recordings, by the names of Lhotse's recipes."""
    place = recordings.with_name(recordings.name.replace(RECORDINGS, SUPERVISIONS))
    if place == recordings or not place.is_file():
        raise DataError(
            f"{recordings} has recordings without labels, and {SUPERVISIONS} with the same name are not beside it; "
            f"give them with --supervisions"
        )
    return place


def _with_supervisions(
    recordings: Path, supervisions: Path, writer: ImportWriter
) -> Iterator[tuple[Item, dict[str, Any]]]:
    """One cut of each recording, as ``CutSet.from_manifests`` makes it."""
    found = dict[str, list[dict[str, Any]]]()
    for item in items_of(supervisions):
        with writer.bad.collect(item.path, item.line, item.number):
            table = item.parse()
            if kind_of(table) != SUPERVISIONS or not isinstance(table["recording_id"], str):
                raise DataError("this is no supervision with a recording_id; is it the right file?")
            found.setdefault(table["recording_id"], []).append(table)
    for index, item in enumerate(items_of(recordings)):
        with writer.bad.collect(item.path, item.line, item.number):
            recording = item.parse()
            if kind_of(recording) != RECORDINGS:
                raise DataError("this is no recording; remove the line")
            channels = _channels(recording)
            yield (
                item,
                {
                    "id": f"{recording.get('id')}-{index}",
                    "type": "MonoCut" if len(channels) == 1 else "MultiCut",
                    "start": 0,
                    "duration": recording.get("duration"),
                    "channel": channels[0] if len(channels) == 1 else channels,
                    "recording": recording,
                    "supervisions": found.pop(str(recording.get("id")), []),
                },
            )
    if num_left := sum(map(len, found.values())):
        writer.notes.append(
            f"{num_left} supervisions of {len(found)} recordings that are not in {recordings.name} were left out"
        )


def _channels(recording: dict[str, Any]) -> list[Any]:
    """Channels of a recording, unchecked."""
    sources = recording["sources"] if isinstance(recording["sources"], list) else []
    lists = [source.get("channels") for source in sources if isinstance(source, dict)]
    channels = [channel for found in lists if isinstance(found, list) for channel in found]
    return sorted(channels, key=str) or [0]


def _note_fields(folder: Path, writer: ImportWriter) -> None:
    """Note the fields of Shar that are not read, such as features."""
    names = [path.name for path in folder.iterdir() if path.is_file()]
    unread = Counter(
        name.partition(".")[0]
        for name in names
        if not shar.CUTS.fullmatch(name) and not shar.AUDIO.fullmatch(name)
    )
    if unread:
        fields = ", ".join(f"{field} ({count} files)" for field, count in sorted(unread.items()))
        writer.notes.append(f"fields of Shar not read: {fields}")
