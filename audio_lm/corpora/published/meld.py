"""MELD: utterances of a television series with emotions.

Layout: ``<train|dev|test>_sent_emo.csv``; next to it, or in its folder ``<train|dev|test>``, the publisher's folders of
videos, each with its audio ``dia<dialogue>_utt<utterance>.wav`` next to it.

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
"""Videos that are broken or missing in the publisher's archives."""

SIZES = {"lines-train": (9988, 3.59), "lines-validation": (1108, 3.59), "lines-test": (2610, 3.58)}
"""Cut-set -> number of clips without ``MISSING``, and their mean seconds."""


def read(source: Path, writer: CutSetWriter) -> None:
    """Read all utterances except ``MISSING``."""
    for name, path, videos in _find_splits(source):
        for number, row in enumerate(read_table_rows(path), start=2):
            if not {"Utterance", "Emotion", "Dialogue_ID", "Utterance_ID"} <= row.keys():
                raise DataError(
                    f"{path}:{number}: expected the publisher's columns; download the table again"
                )
            clip = f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}"
            if (name, clip) in MISSING:
                continue
            audio = videos / f"{clip}.wav"
            if not audio.is_file():
                raise DataError(
                    f"{audio} is missing; extract it with "
                    f"`ffmpeg -i {audio.with_suffix('.mp4')} -ac 1 -ar 16000 {audio}`"
                )
            labels = {"language": "en", "text": row["Utterance"], "emotion": row["Emotion"].lower()}
            writer.add(SPLITS[name][0], f"{name}-{clip}", audio, labels)


def _find_splits(source: Path) -> Iterator[tuple[str, Path, Path]]:
    """Yield name, table and video folder of each split; of several copies of a table, the one with videos."""
    roots = find_folders(source, *(f"{name}_sent_emo.csv" for name in SPLITS))
    for name, (_, folder) in SPLITS.items():
        tables = [path for root in roots if (path := root / f"{name}_sent_emo.csv").is_file()]
        for path in tables:
            videos = [
                candidate
                for candidate in (path.parent / folder, path.parent / name / folder)
                if candidate.is_dir()
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
