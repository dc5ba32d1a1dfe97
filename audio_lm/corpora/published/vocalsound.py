"""VocalSound: laughter, sighs, coughs, throat clearing, sneezes and sniffs of over 3 000 people.

Layout: ``audio_16k/<speaker>_<number>_<sound>.wav``, where ``<speaker>`` starts with the gender, and
``datafiles/<tr|val|te>.json``, which list the clips of the splits.

Source: Gong et al., arXiv:2205.03433; https://github.com/YuanGongND/vocalsound.
"""

import json
from pathlib import Path

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.base import CutSetWriter, Facts, PublishedCorpus, find_folders
from audio_lm.corpora.published.download import Archive

SPLITS = {"tr": "all-train", "val": "all-validation", "te": "all-test"}
SOUNDS = {
    "laughter": "Laughter",
    "sigh": "Sigh",
    "cough": "Cough",
    "throatclearing": "Throat clearing",
    "sneeze": "Sneeze",
    "sniff": "Sniff",
}
GENDERS = {"f": "female", "m": "male"}


def read(source: Path, writer: CutSetWriter) -> None:
    """Read all clips of the three lists."""
    root = find_folders(source, "datafiles")[0]
    for name, subset_split in SPLITS.items():
        path = root / "datafiles" / f"{name}.json"
        try:
            rows = json.loads(path.read_text(encoding="utf-8"))["data"]
        except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
            raise DataError(f"{path} lists no clips ({error}); unpack the corpus completely") from error
        for row in rows:
            audio = root / "audio_16k" / Path(row["wav"]).name
            speaker, _, sound = audio.stem.split("_", 2) if audio.stem.count("_") == 2 else ("", "", "")
            if sound not in SOUNDS:
                raise DataError(
                    f"{path}: {audio.name} is not named <speaker>_<number>_<sound>; repair the row"
                )
            labels = {"vocal_sound": SOUNDS[sound], "speaker": speaker, "gender": GENDERS[speaker[0]]}
            writer.add(subset_split, audio.stem, audio, labels)


CORPUS = PublishedCorpus(
    name="vocalsound",
    facts=Facts(
        what="VocalSound: six sounds people make, 21 024 clips by 3 365 speakers",
        licence="CC BY-SA 4.0",
        url="https://github.com/YuanGongND/vocalsound",
        tasks=("vsc",),
    ),
    read=read,
    archives=(Archive("https://www.dropbox.com/s/c5ace70qh1vbyzb/vs_release_16k.zip?dl=1"),),
)
