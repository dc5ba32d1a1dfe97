"""AudioCaps: captions of AudioSet clips.

Layout: ``<train|val|test>.csv``, of 1.0 or of 2.0. The publisher sends the audio on request, without documented names;
store it as ``audio/<youtube_id>.wav`` or ``.flac``, the ten seconds from ``start_time``. Each caption is a cut. Clips
without audio, whose videos are offline, are counted and left out.

Source: Kim et al., NAACL 2019; https://github.com/cdjkim/audiocaps, ``dataset/`` and its tables.
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

SPLITS = {"train": "captions-train", "val": "captions-validation", "test": "captions-test"}
COLUMNS = {"audiocap_id", "youtube_id", "start_time", "caption"}
SECONDS = 10  # of an AudioSet segment; some are shorter because the video ends
# Rows of the 1.0 tables; validation (495 clips) and test (975) have five captions per clip.
NUM_CAPTIONS = {"captions-train": 49838, "captions-validation": 2475, "captions-test": 4875}


def read(source: Path, writer: CutSetWriter) -> None:
    """Read all captions of clips with audio."""
    root = find_folders(source, *(f"{name}.csv" for name in SPLITS))[0]
    for name, subset_split in SPLITS.items():
        path = root / f"{name}.csv"
        for number, row in enumerate(read_table_rows(path) if path.is_file() else (), start=2):
            if not row.keys() >= COLUMNS or not row["caption"]:
                raise DataError(
                    f"{path}:{number}: expected the publisher's columns and a caption; download the table again"
                )
            audio = find_audio(root / "audio" / row["youtube_id"])
            cut_id = f"{name}-{row['audiocap_id']}"
            if audio.is_file():
                writer.add(subset_split, cut_id, audio, {"caption": row["caption"]})
            else:
                writer.leave_out(cut_id)


CORPUS = PublishedCorpus(
    name="audiocaps",
    facts=Facts(
        what="AudioCaps: ten seconds of AudioSet described in a sentence, five for every clip that tests",
        licence="free for academic purposes only; videos under terms of their own",
        url="https://github.com/cdjkim/audiocaps",
        tasks=("aac",),
        subsets={name: Subset(clips * SECONDS / 3600, clips) for name, clips in NUM_CAPTIONS.items()},
    ),
    read=read,
    by_hand=(
        "take the tables of https://github.com/cdjkim/audiocaps, ask there for the sound by its form, "
        "and put it beside them as audio/<youtube_id>.wav"
    ),
)
