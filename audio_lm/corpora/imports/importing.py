"""Imports a foreign file: one cut-set, all of it or nothing.

The file is read twice: for the audio it names, which is measured on all cores, and for its rows.
Everything is read before anything is written; the manifest is written beside its place and renamed.
Audio stays where it is.
"""

from dataclasses import replace
from pathlib import Path

from audio_lm.common.errors import DataError, UserError
from audio_lm.common.files import partial_folder, sync_file
from audio_lm.common.languages import language_code
from audio_lm.common.names import check_name, is_name
from audio_lm.common.source_name import split_subset
from audio_lm.corpora.channels import check_choice
from audio_lm.corpora.corpus import PREPARED
from audio_lm.corpora.imports.common import ImportOptions
from audio_lm.corpora.imports.registry import find_format
from audio_lm.corpora.imports.writer import ImportListing, ImportWriter
from audio_lm.corpora.settings import Report
from audio_lm.data.audio.file_lengths import measure_files


def import_file(
    format_name: str,
    path: Path,
    data_dir: Path,
    corpus: str,
    subset_split: str,
    options: ImportOptions,
    report: Report,
    *,
    overwrite: bool = False,
) -> Path:
    """Import a foreign file and say where its cut-set is.

    Args:
        path: of the file, or of the folder where the format is one.
        corpus: the folder below ``data_dir``; not one that ``prepare`` made.
        subset_split: such as ``all-train``.
        options: their split and subset, where given, are those of ``subset_split``.
        report: takes one line at a time about what was done.
        overwrite: put it in the place of an older one.

    Returns:
        The manifest, ``<data_dir>/<corpus>/<subset>-<split>.jsonl``.

    Raises:
        DataError: lines cannot be imported; names them. Nothing was written. Or the given language is none.
        UserError: there is no such format, a name cannot be one, or the manifest is there.
    """
    foreign = find_format(format_name)
    place = data_dir.absolute() / corpus / f"{subset_split}.jsonl"
    options = _with_subset(options, subset_split)
    _check_place(place, corpus, overwrite)
    if not path.exists():
        raise DataError(f"{path} is missing; give a file that is there")
    channel = check_choice(options.channel)
    listing = ImportListing(place.parent, corpus)
    foreign.read(path, listing, options)
    measured = measure_files(list(listing.files), report)
    writer = ImportWriter(place.parent, corpus, channel=channel, measured=measured)
    foreign.read(path, writer, options)
    if not writer.num_cuts:
        reasons = [*writer.notes, f"{writer.num_left_out} clips are under 30 ms"]
        raise DataError(
            f"{path}: no row is left for split {options.split!r} ({'; '.join(reasons)}); check the file"
        )
    if writer.num_without_language:
        num = writer.num_without_language
        writer.notes.append(f"{num} transcripts tell no language and count as 'unknown'; give the import one")
    if untagged := writer.num_clips_of_untagged:
        counts = ", ".join(f"{code} ({num} clips)" for code, num in sorted(untagged.items()))
        writer.notes.append(f"languages without a tag, for the prompts natural and chatml only: {counts}")
    _write_manifest(writer, place, report)
    for note in writer.notes:
        report(f"{corpus}: {note}")
    report(f"source {corpus}/{subset_split}: {place}")
    return place


def _with_subset(options: ImportOptions, subset_split: str) -> ImportOptions:
    """The options, with subset and split of the manifest."""
    parts = split_subset(subset_split)
    if parts is None or not is_name(subset_split):
        raise UserError(
            f"{subset_split!r} -- expected a subset and one of train, validation, test, such as all-train; rename it"
        )
    subset, split = parts
    language = None if options.language is None else language_code(options.language)
    if options.subset not in ("", subset) or options.split not in ("", split):
        raise UserError(
            f"the options say {options.subset!r} and {options.split!r}, the manifest {subset_split!r}; make them agree"
        )
    return replace(options, subset=subset, split=split, language=language)


def _check_place(place: Path, corpus: str, overwrite: bool) -> None:
    check_name("corpus", corpus)
    if (place.parent / PREPARED).exists():
        raise UserError(
            f"corpus {corpus!r} was made by `audio-lm prepare`; choose another name for the import"
        )
    if place.exists() and not overwrite:
        raise UserError(f"{place} is there already; choose another name, or overwrite it")


def _write_manifest(writer: ImportWriter, place: Path, report: Report) -> None:
    try:
        with partial_folder(place) as partial:
            writer.folder = partial
            writer.close(report)
            sync_file(partial / place.name)
            (partial / place.name).replace(place)
    except OSError as error:
        raise UserError(
            f"{place} cannot be written ({error.strerror}); choose a folder you may write to"
        ) from error
