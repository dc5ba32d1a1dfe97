"""Prepare a corpus atomically, unless an up-to-date one exists.

A corpus is written to a temporary folder next to its final one and renamed at the end. The next process removes
temporary folders of killed processes. ``prepared.json`` contains a digest of the settings; a corpus with another
digest is written again, unless a run reads it.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from audio_lm.common.errors import UserError
from audio_lm.common.files import partial_folder, put_folder, read_table, write_json
from audio_lm.common.protocols import Report
from audio_lm.corpora.registry import find_corpus

PREPARED = "prepared.json"


def prepare(name: str, data_dir: Path, settings: Mapping[str, Any], report: Report) -> Path:
    """Write a corpus unless an up-to-date one exists.

    Args:
        settings: of the corpus, as in a recipe's ``corpora``; keys are those of its settings class.
        report: callback for lines of progress.

    Returns:
        Folder with one manifest per subset and split.

    Raises:
        RecipeError: the corpus or a setting does not exist.
        DataError: the source data are missing or unusable.
        UserError: the folder cannot be written, or a run reads the corpus that would be replaced.
    """
    corpus = find_corpus(name)
    read = corpus.read_settings(settings)
    folder = data_dir.absolute() / name
    made_from = {
        "corpus": name,
        "version": corpus.version,
        "folder": str(folder),  # manifests contain absolute paths
        "settings": asdict(read),
        "conditions": dict(corpus.conditions()),
    }
    if is_prepared(folder, made_from):
        report(f"corpus {name}: {folder} is up to date")
        return folder
    with ExitStack() as stack:
        stack.enter_context(_without_readers(folder))
        report(f"corpus {name}: making {folder}")
        try:
            partial = stack.enter_context(partial_folder(folder))
        except OSError as error:
            raise UserError(
                f"corpus {name!r} cannot be written to {folder.parent} ({error.strerror}); "
                f"set data_dir to a folder you may write to"
            ) from error
        corpus.write(partial, folder, read, report)
        write_json(partial / PREPARED, {"digest": digest_of_settings(made_from), **made_from})
        put_folder(partial, folder)
    report(f"corpus {name}: done")
    return folder


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Keep a prepared corpus from being replaced by another process while it is read.

    Nothing is locked where the corpus is missing or its file system has no locks.
    """
    with _opened(folder) as descriptor:
        if descriptor is not None:
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield


@contextmanager
def _without_readers(folder: Path) -> Iterator[None]:
    """Raise if a run reads the corpus in a folder, else lock it."""
    with _opened(folder) as descriptor:
        if descriptor is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"a run is reading {folder}, which would be replaced by a corpus with other settings -- wait until it "
                    f"has ended, or set data_dir to another folder"
                ) from None
            except OSError:
                pass  # a file system without locks
        yield


@contextmanager
def _opened(folder: Path) -> Iterator[int | None]:
    """Descriptor of ``prepared.json``, whose lock outlives a rename of its folder and no process."""
    try:
        descriptor = os.open(folder / PREPARED, os.O_RDONLY)
    except OSError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def is_prepared(folder: Path, made_from: Mapping[str, Any]) -> bool:
    """Check whether a folder contains the corpus of these settings."""
    return bool(read_table(folder / PREPARED).get("digest") == digest_of_settings(made_from))


def digest_of_settings(made_from: Mapping[str, Any]) -> str:
    """Digest of settings, independent of their order.

    >>> digest_of_settings({"a": 1, "b": 2}) == digest_of_settings({"b": 2, "a": 1}) != digest_of_settings({"a": 1, "b": 3})
    True
    """
    text = json.dumps(made_from, sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
