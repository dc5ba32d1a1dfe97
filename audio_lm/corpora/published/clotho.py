"""Clotho: sounds of 15 to 30 s, five captions each.

Layout: ``clotho_captions_<development|validation|evaluation>.csv`` and folders of clips with the same names. Each
caption is a separate cut, ``<clip>-<number>``.

Source: Drossos et al., arXiv:1910.09387; https://zenodo.org/records/4783391, whose archives contain one
clip less of development and of validation than its description states.
"""

from pathlib import Path

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.base import (
    CutSetWriter,
    Facts,
    PublishedCorpus,
    find_folders,
    read_table_rows,
)

SPLITS = {"development": "captions-train", "validation": "captions-validation", "evaluation": "captions-test"}
NUM_CAPTIONS = 5


def read(source: Path, writer: CutSetWriter) -> None:
    """Read all captions of all clips."""
    root = find_folders(source, *(f"clotho_captions_{name}.csv" for name in SPLITS))[0]
    for name, subset_split in SPLITS.items():
        path = root / f"clotho_captions_{name}.csv"
        for number, row in enumerate(read_table_rows(path) if path.is_file() else (), start=2):
            if "file_name" not in row:
                raise DataError(f"{path}:{number}: expected a column file_name; download the table again")
            audio = root / name / row["file_name"]
            for caption in range(1, NUM_CAPTIONS + 1):
                if text := row.get(f"caption_{caption}"):
                    writer.add(subset_split, f"{name}-{audio.stem}-{caption}", audio, {"caption": text})


CORPUS = PublishedCorpus(
    name="clotho",
    facts=Facts(
        what="Clotho 2.1: 5 929 sounds of 15 to 30 s with five captions each",
        licence="captions by Tampere University, non-commercial; clips under licences of their own",
        url="https://zenodo.org/records/4783391",
        tasks=("aac",),
    ),
    read=read,
    by_hand="download the tables and the archives of https://zenodo.org/records/4783391, and unpack these (they are 7z)",
)
