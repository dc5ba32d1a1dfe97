"""MusicCaps: 10 s clips of music described by musicians.

Layout: ``musiccaps-public.csv``, and the audio as ``audio/<ytid>.wav`` or ``.flac``, the ten seconds from ``start_s``,
because only ids of videos are published. Clips without audio, whose videos are offline, are counted and left out. Clips
of AudioSet's evaluation set are for testing, the others for training.

Source: Agostinelli et al., arXiv:2301.11325, section 4; https://www.kaggle.com/datasets/googleai/musiccaps.
"""

from pathlib import Path

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.base import (
    CutSetWriter,
    Facts,
    PublishedCorpus,
    Subset,
    find_audio,
    find_folders,
    read_table_rows,
)

TABLE = "musiccaps-public.csv"
SECONDS = 10


def read(source: Path, writer: CutSetWriter) -> None:
    """Read all rows with audio."""
    root = find_folders(source, TABLE)[0]
    path = root / TABLE
    for number, row in enumerate(read_table_rows(path), start=2):
        if not {"ytid", "caption", "is_audioset_eval"} <= row.keys():
            raise DataError(f"{path}:{number}: expected the publisher's columns; download the table again")
        audio = find_audio(root / "audio" / row["ytid"])
        if not audio.is_file():
            writer.leave_out(row["ytid"])
        else:
            split = "test" if row["is_audioset_eval"] == "True" else "train"
            writer.add(f"captions-{split}", row["ytid"], audio, {"caption": row["caption"]})


CORPUS = PublishedCorpus(
    name="musiccaps",
    facts=Facts(
        what="MusicCaps: ten seconds of music described by musicians",
        licence="CC BY-SA 4.0 (captions)",
        url="https://www.kaggle.com/datasets/googleai/musiccaps",
        tasks=("mc",),
        subsets={
            "captions-train": Subset(2663 * SECONDS / 3600, 2663),
            "captions-test": Subset(2858 * SECONDS / 3600, 2858),
        },
    ),
    read=read,
    version=2,
    by_hand="take musiccaps-public.csv, and for each row the ten seconds of the video as audio/<ytid>.wav",
)
