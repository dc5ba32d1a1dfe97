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
from audio_lm.common.progress import progress
from audio_lm.common.protocols import Report
from audio_lm.common.source_name import split_subset
from audio_lm.corpora.channels import check_choice
from audio_lm.corpora.corpus import PREPARED
from audio_lm.corpora.imports.common import ImportOptions
from audio_lm.corpora.imports.registry import check_options, find_format
from audio_lm.corpora.imports.writer import ImportListing, ImportWriter
from audio_lm.corpora.published.base import MIN_CLIPS
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
        Path of the manifest, ``<data_dir>/<corpus>/<subset>-<split>.jsonl``; with ``options.split_by``, of that of train.

    Raises:
        DataError: lines cannot be imported (names them; nothing was written), or the given language is unknown.
        UserError: the format is unknown, a name is invalid, or the manifest exists.
    """
    manifests = manifests_of(format_name, path, data_dir, corpus, subset_split, options, overwrite=overwrite)
    data_format, folder = find_format(format_name), data_dir.absolute() / corpus
    options = replace(_with_subset(options, subset_split), data_dir=data_dir.absolute())
    channel = check_choice(options.channel)
    listing = ImportListing(folder, corpus, skip_bad=options.skip_bad)
    data_format.read(path, listing, options)
    measured = _measure(list(listing.files), cache_path(data_dir / CACHE, f"{corpus}/{subset_split}"))
    with progress("reading clips", total=listing.num_added, what="clips", min_total=MIN_CLIPS) as advance:
        writer = ImportWriter(
            folder, corpus, channel=channel, measured=measured, skip_bad=options.skip_bad, advance=advance
        )
        data_format.read(path, writer, options)
    if not writer.num_cuts:
        reasons = [*writer.all_notes(), f"{writer.num_left_out} clips are under 30 ms"]
        raise DataError(
            f"{path}: no rows are left for split {options.split!r} ({'; '.join(reasons)}); check the file"
        )
    if options.split_by is not None:
        writer.split(options.subset, options.split_by)
    _write_manifests(writer, manifests, report)
    for note in writer.all_notes():
        report(f"{corpus}: {note}")
    for written in manifests:
        report(f"source {corpus}/{written.stem}: {written}")
    return manifests[0]


def manifests_of(
    format_name: str,
    path: Path,
    data_dir: Path,
    corpus: str,
    subset_split: str,
    options: ImportOptions,
    *,
    overwrite: bool = False,
) -> list[Path]:
    """Manifests that an import writes, one for each split; arguments as of ``import_file``, whose rows are not read.

    Raises:
        DataError: the file is missing.
        UserError: the format or an option is unknown, a name is invalid, or a manifest exists.
    """
    data_format = find_format(format_name)
    check_options(data_format, options)
    options = _with_subset(options, subset_split)
    folder = data_dir.absolute() / corpus
    manifests = [folder / f"{options.subset}-{split}.jsonl" for split in _splits(options)]
    for manifest in manifests:
        _check_manifest(manifest, corpus, overwrite)
    if not path.exists() and not data_format.finds_files:
        raise DataError(f"{path} is missing; give an existing file")
    return manifests


def _measure(files: Sequence[Path], cache: Path) -> dict[Path, AudioMeasurement | str]:
    try:
        return measure_files(files, cache=cache)
    except OSError as error:
        raise UserError(
            f"{cache} cannot be written ({error.strerror}); choose a folder you may write to"
        ) from error


def _splits(options: ImportOptions) -> list[str]:
    """Splits that an import writes.

    Raises:
        UserError: the clips are to be divided, and the manifest is not that of train.
    """
    if options.split_by is None:
        return [options.split]
    if options.split != "train":
        raise UserError(
            f"the import is split, and its name is {options.subset_split!r} -- expected {options.subset}-train, from which "
            f"the names of the other splits are made; rename it"
        )
    return ["train", *options.split_by.shares]


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


def _write_manifests(writer: ImportWriter, manifests: Sequence[Path], report: Report) -> None:
    """Write one manifest for each split.

    Earlier manifests are removed before the first is renamed if there are several: a killed import must not leave a
    new train beside an old test, which may have clips in common.
    """
    try:
        with partial_folder(manifests[0]) as partial:
            writer.folder = partial
            writer.close(report)
            for manifest in manifests:
                sync_file(partial / manifest.name)
            for manifest in manifests if len(manifests) > 1 else ():
                manifest.unlink(missing_ok=True)
            for manifest in manifests:
                (partial / manifest.name).replace(manifest)
    except OSError as error:
        raise UserError(
            f"{manifests[0]} cannot be written ({error.strerror}); choose a folder you may write to"
        ) from error
