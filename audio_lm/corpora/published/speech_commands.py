"""Speech Commands v2: single words, ten of which are commands.

Layout: a folder for each word, ``validation_list.txt`` and ``testing_list.txt``; the rest is for training. Words
that are not commands have the keyword ``none``. Hours are an upper bound: no clip is longer than 1 s.

Source: Warden, arXiv:1804.03209, sections 5 and 7; checksum of the archive by https://github.com/tensorflow/datasets.
"""

from pathlib import Path

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.base import CutSetWriter, Facts, PublishedCorpus, Subset, find_folders
from audio_lm.corpora.published.download import Archive

COMMANDS = frozenset(["yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"])
LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}
NOISE = "_background_noise_"
NUM_CLIPS = {"v2-train": 84843, "v2-validation": 9981, "v2-test": 11005}


def read(source: Path, writer: CutSetWriter) -> None:
    """Read all words of all speakers."""
    root = find_folders(source, *LISTS.values())[0]
    split_of_file: dict[str, str] = {}
    for split, name in LISTS.items():
        if not (root / name).is_file():
            raise DataError(f"{root / name} is missing; unpack the corpus completely")
        split_of_file |= dict.fromkeys((root / name).read_text(encoding="utf-8").split(), split)
    for audio in sorted(root.glob("*/*.wav")):
        word, file = audio.parent.name, f"{audio.parent.name}/{audio.name}"
        if word == NOISE:
            continue
        keyword = word if word in COMMANDS else "none"
        labels = {"language": "en", "text": word, "keyword": keyword, "speaker": audio.name.partition("_")[0]}
        writer.add(f"v2-{split_of_file.get(file, 'train')}", f"{word}-{audio.stem}", audio, labels)


CORPUS = PublishedCorpus(
    name="speech_commands",
    facts=Facts(
        what="Speech Commands v2: words of one second, ten of them commands",
        licence="CC BY 4.0",
        url="https://arxiv.org/abs/1804.03209",
        tasks=("ks",),
        subsets={name: Subset(clips / 3600, clips) for name, clips in NUM_CLIPS.items()},
    ),
    read=read,
    archives=(
        Archive(
            "http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
            sha256="af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
        ),
    ),
)
