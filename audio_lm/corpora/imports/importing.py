"""Import a file of another project as one cut-set, atomically.

The file is read twice: once for its audio files, which are measured on all cores, and once for its rows. Writing starts
after all rows are read; the manifest is written to a temporary folder and renamed. Audio files are not copied.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from audio_lm.common.errors import DataError, UserError
from audio_lm.common.files import partial_folder, sync_file
from audio_lm.common.languages import language_code
from audio_lm.common.names import check_name, is_name
from audio_lm.common.protocols import Report
from audio_lm.common.source_name import split_subset
from audio_lm.corpora.channels import check_choice
from audio_lm.corpora.corpus import PREPARED
from audio_lm.corpora.imports.common import ImportOptions
from audio_lm.corpora.imports.registry import find_format
from audio_lm.corpora.imports.writer import ImportListing, ImportWriter
from audio_lm.data.audio.decode import AudioMeasurement
from audio_lm.data.audio.file_lengths import measure_files
from audio_lm.data.audio.length_cache import cache_path
from audio_lm.data.cache import CACHE


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
    """Import a file of another project.

    Args:
        path: of the file, or of the folder for a format that is a folder.
        corpus: name of the folder in ``data_dir``; not one written by ``prepare``.
        subset_split: such as ``all-train``.
        options: subset and split have to be empty or those of ``subset_split``.
        report: callback for lines of progress.
        overwrite: replace an existing manifest.

    Returns:
        Path of the manifest, ``<data_dir>/<corpus>/<subset>-<split>.jsonl``.

    Raises:
        DataError: lines cannot be imported (names them; nothing was written), or the given language is unknown.
        UserError: the format is unknown, a name is invalid, or the manifest exists.
    """
    data_format = find_format(format_name)
    manifest = data_dir.absolute() / corpus / f"{subset_split}.jsonl"
    options = _with_subset(options, subset_split)
    _check_manifest(manifest, corpus, overwrite)
    if not path.exists():
        raise DataError(f"{path} is missing; give an existing file")
    channel = check_choice(options.channel)
    listing = ImportListing(manifest.parent, corpus)
    data_format.read(path, listing, options)
    measured = _measure(list(listing.files), cache_path(data_dir / CACHE, f"{corpus}/{subset_split}"))
    writer = ImportWriter(manifest.parent, corpus, channel=channel, measured=measured)
    data_format.read(path, writer, options)
    if not writer.num_cuts:
        reasons = [*writer.notes, f"{writer.num_left_out} clips are under 30 ms"]
        raise DataError(
            f"{path}: no rows are left for split {options.split!r} ({'; '.join(reasons)}); check the file"
        )
    if writer.num_without_language:
        num = writer.num_without_language
        writer.notes.append(
            f"{num} transcripts have no language and count as 'unknown'; set the language of the import"
        )
    if untagged := writer.num_clips_of_untagged:
        counts = ", ".join(f"{code} ({num} clips)" for code, num in sorted(untagged.items()))
        writer.notes.append(f"languages without a tag, for the prompts natural and chatml only: {counts}")
    _write_manifest(writer, manifest, report)
    for note in writer.notes:
        report(f"{corpus}: {note}")
    report(f"source {corpus}/{subset_split}: {manifest}")
    return manifest


def _measure(files: Sequence[Path], cache: Path) -> dict[Path, AudioMeasurement | str]:
    try:
        return measure_files(files, cache=cache)
    except OSError as error:
        raise UserError(
            f"{cache} cannot be used ({error.strerror}); choose a data folder you may write to"
        ) from error


def _with_subset(options: ImportOptions, subset_split: str) -> ImportOptions:
    """Set subset and split of the options."""
    parts = split_subset(subset_split)
    if parts is None or not is_name(subset_split):
        raise UserError(
            f"{subset_split!r} -- expected a subset and one of train, validation, test, such as all-train; rename it"
        )
    subset, split = parts
    language = None if options.language is None else language_code(options.language)
    if options.subset not in ("", subset) or options.split not in ("", split):
        raise UserError(
            f"the options have subset {options.subset!r} and split {options.split!r}, the manifest is {subset_split!r}; "
            f"make them agree"
        )
    return replace(options, subset=subset, split=split, language=language)


def _check_manifest(manifest: Path, corpus: str, overwrite: bool) -> None:
    check_name("corpus", corpus)
    if (manifest.parent / PREPARED).exists():
        raise UserError(
            f"corpus {corpus!r} was written by `audio-lm prepare`; choose another name for the import"
        )
    if manifest.exists() and not overwrite:
        raise UserError(f"{manifest} exists; choose another name, or overwrite it")


def _write_manifest(writer: ImportWriter, manifest: Path, report: Report) -> None:
    try:
        with partial_folder(manifest) as partial:
            writer.folder = partial
            writer.close(report)
            sync_file(partial / manifest.name)
            (partial / manifest.name).replace(manifest)
    except OSError as error:
        raise UserError(
            f"{manifest} cannot be written ({error.strerror}); choose a folder you may write to"
        ) from error
