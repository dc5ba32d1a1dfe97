"""Prepares a corpus: all of it or nothing, and only when it is not there yet.

A corpus is written into a temporary folder beside its place and renamed at the
end; what a killed process has left there is removed by the next one. What it was
made from is remembered as a digest; with another digest it is made anew.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from audio_lm.common.errors import UserError
from audio_lm.common.files import partial_folder, put_folder, read_table, write_json
from audio_lm.corpora.registry import find_corpus
from audio_lm.corpora.settings import Report

PREPARED = "prepared.json"


def prepare(name: str, data_dir: Path, settings: Mapping[str, Any], report: Report) -> Path:
    """Make a corpus unless it is there, and say where it is.

    Args:
        settings: of the corpus, as in a recipe's ``corpora``; keys are those of its settings class.
        report: takes one line at a time about what is being done.

    Returns:
        The folder with one manifest per subset and split.

    Raises:
        RecipeError: there is no such corpus or setting.
        DataError: what the corpus is made from cannot be had.
        UserError: the folder cannot be written.
    """
    corpus = find_corpus(name)
    read = corpus.read_settings(settings)
    folder = data_dir.absolute() / name
    made_from = {
        "corpus": name,
        "version": corpus.version,
        "folder": str(folder),  # manifests hold absolute paths
        "settings": asdict(read),
        "conditions": dict(corpus.conditions()),
    }
    if is_prepared(folder, made_from):
        report(f"corpus {name}: {folder} is up to date")
        return folder
    report(f"corpus {name}: making {folder}")
    with ExitStack() as stack:
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


def is_prepared(folder: Path, made_from: Mapping[str, Any]) -> bool:
    """Whether a folder holds the corpus that these settings would make."""
    return bool(read_table(folder / PREPARED).get("digest") == digest_of_settings(made_from))


def digest_of_settings(made_from: Mapping[str, Any]) -> str:
    """Equal for equal settings, whatever their order.

    >>> digest_of_settings({"a": 1, "b": 2}) == digest_of_settings({"b": 2, "a": 1}) != digest_of_settings({"a": 1, "b": 3})
    True
    """
    text = json.dumps(made_from, sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
