"""A Kaldi data directory: wav.scp and text, with or without segments, utt2spk, spk2gender, utt2lang, utt2dur.

Paths in wav.scp are relative to the audio root, like Kaldi's to the working directory of a recipe, or to the data
directory. Of commands, only those that decode one file are read, as that file. ``utt2dur`` is only compared with the audio.

Source: kaldi-asr/kaldi at f4007661, src/doc/data_prep.dox and src/featbin/extract-segments.cc (segments, an end of
-1, overshoot); utt2lang as in lhotse.kaldi.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audio_lm.common.errors import DataError
from audio_lm.corpora.channels import AVERAGE
from audio_lm.corpora.imports.bad_lines import BadLines, EmptyRowError
from audio_lm.corpora.imports.common import (
    ImportOptions,
    parse_seconds,
    read_lines,
    refuse_columns,
    resolve_audio_path,
)
from audio_lm.corpora.imports.decoder_pipes import file_of_pipe
from audio_lm.corpora.imports.labels import NON_TARGET_LABELS, parse_label
from audio_lm.corpora.imports.writer import ImportWriter

NAME = "kaldi"
REPAIR = "run utils/fix_data_dir.sh or complete it"


@dataclass(frozen=True)
class Table:
    """File of keys and values, and the line of each key."""

    path: Path
    values: Mapping[str, str]
    line_of: Mapping[str, int]

    def value(self, key: str) -> str:
        """Value of a key.

        Raises:
            DataError: the key is missing.
        """
        if key not in self.values:
            raise DataError(f"{self.path.name} has no {key!r}; {REPAIR}")
        return self.values[key]


def read(folder: Path, writer: ImportWriter, options: ImportOptions) -> None:
    """Import a data directory.

    Raises:
        DataError: a file is missing, or bad lines, all of them in one message.
    """
    refuse_columns(options, NAME)
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give the data directory that contains wav.scp")
    bad = writer.bad
    scp, texts = _read_table(folder / "wav.scp", bad), _read_table(folder / "text", bad, may_be_empty=True)
    others = {
        name: _read_table(folder / name, bad)
        for name in ("segments", "utt2spk", "spk2gender", "utt2lang", "utt2dur")
        if (folder / name).is_file()
    }
    bad.raise_errors()
    _note_unread(folder, others, writer)
    segments = others.pop("segments", None)
    utterances = scp if segments is None else segments
    for utterance, line in utterances.line_of.items():
        with bad.collect(utterances.path, line):
            labels = options.label_language() | _labels(utterance, texts, others)
            recording, start, duration = utterance, 0.0, None
            if segments is not None:
                recording, start, duration = _segment(segments.values[utterance])
            audio = resolve_audio_path(
                file_of_pipe(scp.value(recording), averages=options.channel == AVERAGE), folder, options
            )
            if "utt2dur" in others:
                declared = parse_seconds("utt2dur", others["utt2dur"].value(utterance))
                writer.check_duration(audio, start, duration, declared)
            writer.add(options.subset_split, utterance, audio, labels, start=start, duration=duration)
    for utterance, line in texts.line_of.items():
        with bad.collect(texts.path, line):
            utterances.value(utterance)
    bad.raise_errors()


def _note_unread(folder: Path, others: Mapping[str, Table], writer: ImportWriter) -> None:
    """Note the files that are not read; spk2gender needs utt2spk, and spk2utt is the inverse of utt2spk."""
    read = {"wav.scp", "text", "spk2utt", *others} - ({"spk2gender"} if "utt2spk" not in others else set())
    unread = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name not in read)
    if unread:
        writer.notes.append(f"files not read: {', '.join(unread)}")


def _read_table(path: Path, bad: BadLines, *, may_be_empty: bool = False) -> Table:
    values: dict[str, str] = {}
    line_of: dict[str, int] = {}
    for number, line in read_lines(path):
        with bad.collect(path, number):
            key, *rest = line.split(maxsplit=1)
            if key in values:
                raise DataError(f"{key!r} is already in line {line_of[key]}; {REPAIR}")
            if not rest and not may_be_empty:
                raise DataError(f"{key!r} has no value; {REPAIR}")
            values[key], line_of[key] = "".join(rest).strip(), number
    return Table(path, values, line_of)


def _segment(value: str) -> tuple[str, float, float | None]:
    """Recording, start and duration; None is to the end of the recording."""
    fields = value.split()
    if len(fields) != 3:
        raise DataError(
            f"{len(fields) + 1} fields -- expected utterance, recording, start and end; correct the line"
        )
    recording, start = fields[0], parse_seconds("start", fields[1])
    if fields[2] in ("-1", "-1.0"):
        return recording, start, None
    end = parse_seconds("end", fields[2])
    if end <= start:
        raise DataError(f"the segment ends at {end} s and starts at {start} s; correct the line")
    return recording, start, end - start


def _labels(utterance: str, texts: Table, others: Mapping[str, Table]) -> dict[str, Any]:
    text = texts.value(utterance)
    labels: dict[str, Any] = {"text": text} if text else {}
    if "utt2lang" in others:
        labels["language"] = parse_label("language", others["utt2lang"].value(utterance), "utt2lang")
    if "utt2spk" in others:
        labels["speaker"] = others["utt2spk"].value(utterance)
        if "spk2gender" in others:
            gender = others["spk2gender"].value(labels["speaker"])
            labels["gender"] = parse_label("gender", gender, "spk2gender")
    if not labels.keys() - NON_TARGET_LABELS:
        raise EmptyRowError(f"{utterance!r} has no text")
    return labels
