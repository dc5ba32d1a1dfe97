"""ESC-50: 2 000 environmental sounds in 50 classes.

Layout: ``audio/<fold>-<clip>-<take>-<class>.wav`` and ``meta/esc50.csv``. The publisher's five folds are for
cross-validation; here 1 to 3 are for training, 4 for validation and 5 for testing.

Source: Piczak, ACM Multimedia 2015; https://github.com/karolpiczak/ESC-50.
"""

from pathlib import Path

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.base import (
    CutSetWriter,
    Facts,
    PublishedCorpus,
    Subset,
    find_folders,
    read_table_rows,
)
from audio_lm.corpora.published.download import Archive

SPLIT_OF_FOLD = {"1": "train", "2": "train", "3": "train", "4": "validation", "5": "test"}
HOURS_OF_FOLD = 400 * 5 / 3600


def read(source: Path, writer: CutSetWriter) -> None:
    """Read all rows of the table."""
    root = find_folders(source, "meta/esc50.csv")[0]
    path = root / "meta" / "esc50.csv"
    for number, row in enumerate(read_table_rows(path), start=2):
        if row.get("fold") not in SPLIT_OF_FOLD or "filename" not in row or "category" not in row:
            raise DataError(
                f"{path}:{number}: expected a filename, a fold of 1 to 5 and a category; repair the line"
            )
        event = row["category"].replace("_", " ")
        audio = root / "audio" / row["filename"]
        writer.add(f"folds-{SPLIT_OF_FOLD[row['fold']]}", audio.stem, audio, {"events": [event]})


CORPUS = PublishedCorpus(
    name="esc50",
    facts=Facts(
        what="ESC-50: environmental sounds of five seconds, fifty classes",
        licence="CC BY-NC 3.0",
        url="https://github.com/karolpiczak/ESC-50",
        tasks=("sec",),
        subsets={
            "folds-train": Subset(3 * HOURS_OF_FOLD, 1200),
            "folds-validation": Subset(HOURS_OF_FOLD, 400),
            "folds-test": Subset(HOURS_OF_FOLD, 400),
        },
    ),
    read=read,
    archives=(Archive("https://github.com/karolpiczak/ESC-50/archive/master.zip"),),
)
