"""VoxCeleb 1: interviews with celebrities, and trials for speaker verification.

Layout: ``wav/<speaker>/<video>/<number>.wav``, ``vox1_meta.csv`` (tab-separated) and the list of trials,
``veri_test2.txt`` or ``veri_test.txt``. Speakers of the trials are for testing, the others for training.

Source: Nagrani et al., arXiv:1706.08612; https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html; hours and clips as
counted in https://github.com/PaddlePaddle/PaddleSpeech, examples/voxceleb.
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

META, TRIALS = "vox1_meta.csv", ("veri_test2.txt", "veri_test.txt")
COLUMNS = ("speaker", "name", "gender", "nationality", "set")
GENDERS = {"m": "male", "f": "female"}
SAME = {"1": "yes", "0": "no"}


def read(source: Path, writer: CutSetWriter) -> None:
    """Read all clips with gender, and all trials as pairs of clips."""
    root = find_folders(source, META)[0]
    people = {row["speaker"]: row for row in read_table_rows(root / META, separator="\t", columns=COLUMNS)}
    for audio in sorted((root / "wav").glob("*/*/*.wav")):
        speaker = audio.parts[-3]
        if speaker not in people:
            raise DataError(f"{audio}: speaker {speaker!r} is not in {META}; take the table of VoxCeleb 1")
        row = people[speaker]
        labels = {"speaker": speaker, "gender": GENDERS[row["gender"].strip()]}
        split = "test" if row["set"].strip() == "test" else "train"
        writer.add(f"speakers-{split}", "-".join(audio.with_suffix("").parts[-3:]), audio, labels)
    for path in [root / name for name in TRIALS if (root / name).is_file()][:1]:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            same, *pair = line.split()
            if same not in SAME or len(pair) != 2:
                raise DataError(f"{path}:{number}: expected 0 or 1 and two files; repair the line")
            first, second = (root / "wav" / name for name in pair)
            labels = {"same_speaker": SAME[same]}
            writer.add("trials-test", f"trial-{number}", first, labels, more_audio=[second])


CORPUS = PublishedCorpus(
    name="voxceleb",
    facts=Facts(
        what="VoxCeleb 1: interviews with 1 251 celebrities, and trials of two clips",
        licence="CC BY 4.0",
        url="https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html",
        tasks=("sv", "sgc"),
        subsets={"speakers-train": Subset(340.4, 148642), "speakers-test": Subset(11.2, 4874)},
    ),
    read=read,
    by_hand="ask for the audio by the form on the page of VoxCeleb 1 and put vox1_meta.csv and veri_test2.txt beside wav/",
)
