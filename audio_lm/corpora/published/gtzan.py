"""GTZAN: ten music genres with 100 clips of 30 s each.

Layout: ``<genre>/<genre>.<number>.wav`` (or ``.au``, as in the original). There is no official split; of every ten
clips of a genre the ninth is for validation and the tenth for testing. Clips are truncated to 30 s; some exceed it by
10 ms.

Source: Tzanetakis and Cook, IEEE TSAP 10 (2002), section IV.
"""

from pathlib import Path

from audio_lm.common.audio_units import MAX_SECONDS
from audio_lm.corpora.published.base import CutSetWriter, Facts, PublishedCorpus, Subset, find_folders

GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
SPLIT_OF_DIGIT = {"8": "validation", "9": "test"}


def read(source: Path, writer: CutSetWriter) -> None:
    """Read all clips of all genres."""
    root = find_folders(source, *GENRES)[0]
    for genre in GENRES:
        for audio in sorted((root / genre).glob(f"{genre}.*.*")):
            if audio.suffix in (".wav", ".au"):
                split = SPLIT_OF_DIGIT.get(audio.stem[-1], "train")
                name = "hip hop" if genre == "hiphop" else genre
                writer.add(f"genres-{split}", audio.stem, audio, {"genre": name}, duration=MAX_SECONDS)


CORPUS = PublishedCorpus(
    name="gtzan",
    facts=Facts(
        what="GTZAN: half a minute of music in ten genres",
        licence="none given; for research",
        url="https://doi.org/10.1109/TSA.2002.800560",
        tasks=("mgr",),
        subsets={
            "genres-train": Subset(800 * MAX_SECONDS / 3600, 800),
            "genres-validation": Subset(100 * MAX_SECONDS / 3600, 100),
            "genres-test": Subset(100 * MAX_SECONDS / 3600, 100),
        },
    ),
    read=read,
    by_hand="its first home is closed; take a copy of genres.tar.gz",
)
