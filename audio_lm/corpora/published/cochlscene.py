"""CochlScene: acoustic scenes, 13 classes, 10 s clips recorded by volunteers.

Layout: ``<Train|Val|Test>/<scene>/<scene>_user<number>_<recording>.wav``.

Source: Jeong and Park, arXiv:2211.02289; https://zenodo.org/records/7080122.
"""

import re
from pathlib import Path

from audio_lm.corpora.published.base import CutSetWriter, Facts, PublishedCorpus, find_folders

SPLITS = {"Train": "scenes-train", "Val": "scenes-validation", "Test": "scenes-test"}


def read(source: Path, writer: CutSetWriter) -> None:
    """Read all clips; the folder is the scene."""
    for root in find_folders(source, *SPLITS):
        for folder, subset_split in SPLITS.items():
            for audio in sorted((root / folder).glob("*/*.wav")):
                scene = re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", audio.parent.name).lower()
                writer.add(subset_split, f"{folder.lower()}-{audio.stem}", audio, {"scene": scene})


CORPUS = PublishedCorpus(
    name="cochlscene",
    facts=Facts(
        what="CochlScene: ten seconds of thirteen places, 76 115 clips, 211 h",
        licence="CC BY-SA 3.0",
        url="https://zenodo.org/records/7080122",
        tasks=("asc",),
    ),
    read=read,
    by_hand="download CochlScene.z01 to .z05 and CochlScene.zip from https://zenodo.org/records/7080122, one archive in six "
    "parts, join them with `zip -s 0 CochlScene.zip --out whole.zip` and unpack whole.zip",
)
