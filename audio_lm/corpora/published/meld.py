"""MELD: lines of a television series and the emotion they are said with.

Layout: ``<train|dev|test>_sent_emo.csv``; beside it, or in a folder ``<train|dev|test>`` there, the publisher's
folders of videos, with the sound of every video as ``dia<dialogue>_utt<utterance>.wav`` beside it.

Source: Poria et al., arXiv:1810.02508; https://github.com/declare-lab/MELD, "Dataset Statistics" (clips, seconds).
"""

from collections.abc import Iterator
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

SPLITS = {
    "train": ("lines-train", "train_splits"),
    "dev": ("lines-validation", "dev_splits_complete"),
    "test": ("lines-test", "output_repeated_splits_test"),
}
MISSING = {("train", "dia125_utt3"), ("dev", "dia110_utt7")}
"""Videos that the publisher's archives hold broken, or not at all."""

SIZES = {"lines-train": (9988, 3.59), "lines-validation": (1108, 3.59), "lines-test": (2610, 3.58)}
"""Cut-set -> clips, without the two, and their mean seconds."""


def read(source: Path, writer: CutSetWriter) -> None:
    """Every line but those whose video the publisher lacks."""
    for name, path, videos in _places(source):
        for number, row in enumerate(read_table_rows(path), start=2):
            if not {"Utterance", "Emotion", "Dialogue_ID", "Utterance_ID"} <= row.keys():
                raise DataError(
                    f"{path}:{number}: the publisher's columns are wanted; download the table again"
                )
            clip = f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}"
            if (name, clip) in MISSING:
                continue
            audio = videos / f"{clip}.wav"
            if not audio.is_file():
                raise DataError(
                    f"{audio} is missing; make it of the video with "
                    f"`ffmpeg -i {audio.with_suffix('.mp4')} -ac 1 -ar 16000 {audio}`"
                )
            labels = {"language": "en", "text": row["Utterance"], "emotion": row["Emotion"].lower()}
            writer.add(SPLITS[name][0], f"{name}-{clip}", audio, labels)


def _places(source: Path) -> Iterator[tuple[str, Path, Path]]:
    """Name, table and videos of every split; of several copies of a table the one that has its videos."""
    roots = find_folders(source, *(f"{name}_sent_emo.csv" for name in SPLITS))
    for name, (_, folder) in SPLITS.items():
        tables = [path for root in roots if (path := root / f"{name}_sent_emo.csv").is_file()]
        for path in tables:
            videos = [
                place for place in (path.parent / folder, path.parent / name / folder) if place.is_dir()
            ]
            if videos:
                yield name, path, videos[0]
                break
        else:
            yield from ((name, path, path.parent / folder) for path in tables[:1])


CORPUS = PublishedCorpus(
    name="meld",
    facts=Facts(
        what="MELD: lines of a television series with seven emotions",
        licence="GPL-3.0",
        url="https://github.com/declare-lab/MELD",
        tasks=("er",),
        subsets={name: Subset(clips * seconds / 3600, clips) for name, (clips, seconds) in SIZES.items()},
    ),
    read=read,
    version=2,
    by_hand="take MELD.Raw.tar.gz from https://github.com/declare-lab/MELD, unpack it and the archives in it, and take the "
    "sound out of the videos",
)
