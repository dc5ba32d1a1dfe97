"""Common Voice: sentences read by volunteers, some with declared gender, age and accent.

Layout: ``<language>/<train|dev|test>.tsv`` and ``<language>/clips/<path>``, as in every release. Sizes
depend on the release, so the facts contain none.

Source: Ardila et al., arXiv:1912.06670; https://github.com/common-voice/cv-dataset, "Scripted Speech".
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.base import (
    CutSetWriter,
    Facts,
    PublishedCorpus,
    find_folders,
    read_table_rows,
)

LANGUAGE_OF_FOLDER = {"zh-CN": "zh"} | {
    name: name for name in ("en", "de", "es", "ko", "fr", "ja", "it", "yue")
}
"""Folder of a release -> language code; CoVoST 2 names its languages in the same way."""

SPLITS = {"train": "train", "dev": "validation", "test": "test"}
GENDERS = {"male": "male", "female": "female", "male_masculine": "male", "female_feminine": "female"}


def read(source: Path, writer: CutSetWriter) -> None:
    """Read all validated sentences of the existing languages."""
    for root in find_folders(source, *(f"{folder}/clips" for folder in LANGUAGE_OF_FOLDER)):
        for folder, language in LANGUAGE_OF_FOLDER.items():
            for name, split in SPLITS.items():
                path = root / folder / f"{name}.tsv"
                for number, row in enumerate(
                    read_table_rows(path, separator="\t") if path.is_file() else (), start=2
                ):
                    if not row.get("path") or not row.get("sentence"):
                        raise DataError(f"{path}:{number}: expected a path and a sentence; repair the line")
                    audio = root / folder / "clips" / row["path"]
                    writer.add(
                        f"{language}-{split}", audio.stem, audio, labels_of(row, language), honesty="declared"
                    )


def labels_of(row: Mapping[str, str], language: str) -> dict[str, Any]:
    """Labels of a row; facts about the speaker are optional."""
    labels: dict[str, Any] = {"language": language, "text": row["sentence"]}
    if row.get("client_id"):
        labels["speaker"] = row["client_id"][:16]
    if row.get("gender") in GENDERS:
        labels["gender"] = GENDERS[row["gender"]]
    if row.get("age"):
        labels["age"] = row["age"]
    if accent := row.get("accents") or row.get("accent"):
        labels["dialect"] = accent
    return labels


CORPUS = PublishedCorpus(
    name="commonvoice",
    facts=Facts(
        what="Common Voice: sentences read by volunteers, with gender, age and accent where declared",
        licence="CC0 1.0",
        url="https://commonvoice.mozilla.org",
        tasks=("asr", "lid", "sgc", "sap", "did"),
    ),
    read=read,
    by_hand="download a release of the languages you want from the Mozilla Data Collective, to which "
    "https://commonvoice.mozilla.org leads, and unpack them side by side",
)
