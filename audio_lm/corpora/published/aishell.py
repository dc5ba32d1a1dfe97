"""AISHELL-1: read Mandarin by 400 speakers.

Layout: ``wav/<train|dev|test>/<speaker>/<id>.wav`` and ``transcript/aishell_transcript_v0.8.txt``.

Source: https://www.openslr.org/33 for the total hours, divided here in proportion to clips. Clips as
in https://github.com/openspeech-team/openspeech, datasets/aishell.
"""

from pathlib import Path

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.base import CutSetWriter, Facts, PublishedCorpus, Subset, find_folders

HOURS_OF_CLIP = 178 / (120098 + 14326 + 7176)
SPLITS = {
    "train": ("all-train", Subset(120098 * HOURS_OF_CLIP, 120098)),
    "dev": ("all-validation", Subset(14326 * HOURS_OF_CLIP, 14326)),
    "test": ("all-test", Subset(7176 * HOURS_OF_CLIP, 7176)),
}


def read(source: Path, writer: CutSetWriter) -> None:
    """Read all clips with a transcript; a few have none."""
    root = find_folders(source, "transcript")[0]
    path = root / "transcript" / "aishell_transcript_v0.8.txt"
    if not path.is_file():
        raise DataError(f"{path} is missing; unpack the corpus completely")
    texts = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        name, _, text = line.partition(" ")
        if not text.strip():
            raise DataError(f"{path}:{number}: expected an id and a text; repair the line")
        texts[name] = "".join(text.split())
    for folder, (subset_split, _) in SPLITS.items():
        for audio in sorted((root / "wav" / folder).glob("*/*.wav")):
            if audio.stem in texts:
                labels = {"language": "zh", "text": texts[audio.stem], "speaker": audio.parent.name}
                writer.add(subset_split, audio.stem, audio, labels)


CORPUS = PublishedCorpus(
    name="aishell",
    facts=Facts(
        what="AISHELL-1: read Mandarin",
        licence="Apache-2.0",
        url="https://www.openslr.org/33",
        tasks=("asr",),
        subsets=dict(SPLITS.values()),
    ),
    read=read,
    by_hand="download data_aishell.tgz from https://www.openslr.org/33 and unpack the archive of every speaker in wav/",
)
