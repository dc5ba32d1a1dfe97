"""AISHELL-2: read Mandarin, one thousand hours by telephone, tested by two telephones and a microphone.

Layout: ``<iOS|Android|Mic>/<data|dev|test>`` with ``trans.txt``, ``wav.scp`` and ``wav/<speaker>/<id>.wav``; training
is in ``AISHELL-2/iOS/data``, the rest in ``AISHELL-DEV-TEST-SET``. A wave without a transcript is no clip.

Source: https://github.com/kaldi-asr/kaldi, egs/aishell2, by the publisher (tables, hours, clips, licence), and
egs2/aishell2 of https://github.com/espnet/espnet (folders of the channels); arXiv:1808.10583.
"""

from pathlib import Path

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.base import CutSetWriter, Facts, PublishedCorpus, Subset, find_folders

SUBSETS = {"iOS": "ios", "Android": "android", "Mic": "mic"}
SPLITS = {"data": "train", "dev": "validation", "test": "test"}


def read(source: Path, writer: CutSetWriter) -> None:
    """Every channel and split that is there."""
    for root in find_folders(source, *SUBSETS):
        for channel, subset in SUBSETS.items():
            for name, split in SPLITS.items():
                folder = root / channel / name
                archive = folder.with_name(f"{name}.tar.gz")
                if folder.is_dir():
                    _read_part(folder, f"{subset}-{split}", writer)
                elif archive.is_file():
                    raise DataError(f"{archive} is still packed; unpack it where it lies")


def _read_part(folder: Path, subset_split: str, writer: CutSetWriter) -> None:
    """The channels of an evaluation set hold the same sentences, so ids are told apart by the subset."""
    paths = _column(folder / "wav.scp", "a path")
    for name, text in _column(folder / "trans.txt", "a text").items():
        if name not in paths:
            raise DataError(
                f"{folder / 'wav.scp'} has no {name!r}, which has a transcript; unpack the corpus again"
            )
        audio = folder / paths[name]
        labels = {"language": "zh", "text": text, "speaker": audio.parent.name}
        writer.add(subset_split, f"{subset_split.partition('-')[0]}-{name}", audio, labels)


def _column(path: Path, what: str) -> dict[str, str]:
    """Id -> the rest of the line; blanks stay, because English words are among the Mandarin ones."""
    if not path.is_file():
        raise DataError(f"{path} is missing; unpack the corpus completely")
    found: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        name, *rest = line.split(maxsplit=1) or [""]
        value = "".join(rest).strip()
        if not value:
            raise DataError(f"{path}:{number}: an id and {what} are wanted; repair the line")
        if found.setdefault(name, value) != value:
            raise DataError(
                f"{path}:{number}: {name!r} came before with another value; remove one of the lines"
            )
    return found


CORPUS = PublishedCorpus(
    name="aishell2",
    facts=Facts(
        what="AISHELL-2: read Mandarin by iOS; dev and test (2 500 and 5 000 clips) by iOS, Android and microphone",
        licence="free for non-commercial research and education, on application",
        url="https://www.aishelltech.com/aishell_2",
        tasks=("asr",),
        subsets={"ios-train": Subset(1000.0, 1_000_000)},  # both are round numbers of the publisher's
    ),
    read=read,
    by_hand="apply for AISHELL-2 at https://www.aishelltech.com/aishell_2, take its dev and test sets from "
    "http://www.aishelltech.com/aishell_eval, and unpack both side by side",
)
