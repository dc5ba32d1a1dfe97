"""AISHELL-2: 1 000 hours of read Mandarin by iOS, with test sets by iOS, Android and microphone.

Layout: ``<iOS|Android|Mic>/<data|dev|test>`` with ``trans.txt``, ``wav.scp`` and ``wav/<speaker>/<id>.wav``; training
is in ``AISHELL-2/iOS/data``, the rest in ``AISHELL-DEV-TEST-SET``. Audio without a transcript is ignored.

Source: https://github.com/kaldi-asr/kaldi, egs/aishell2, by the publisher (tables, hours, clips, licence), and
egs2/aishell2 of https://github.com/espnet/espnet (folders of the channels); arXiv:1808.10583.
"""

from pathlib import Path

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.base import CutSetWriter, Facts, PublishedCorpus, Subset, find_folders

SUBSETS = {"iOS": "ios", "Android": "android", "Mic": "mic"}
SPLITS = {"data": "train", "dev": "validation", "test": "test"}


def read(source: Path, writer: CutSetWriter) -> None:
    """Read all existing channels and splits."""
    for root in find_folders(source, *SUBSETS):
        for channel, subset in SUBSETS.items():
            for name, split in SPLITS.items():
                folder = root / channel / name
                archive = folder.with_name(f"{name}.tar.gz")
                if folder.is_dir():
                    _read_part(folder, f"{subset}-{split}", writer)
                elif archive.is_file():
                    raise DataError(f"{archive} is still packed; unpack it in its folder")


def _read_part(folder: Path, subset_split: str, writer: CutSetWriter) -> None:
    """Read one split; the channels contain the same sentences, so the subset is part of the id."""
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
    """Id -> rest of the line; spaces are kept, because transcripts contain English words."""
    if not path.is_file():
        raise DataError(f"{path} is missing; unpack the corpus completely")
    values: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        name, *rest = line.split(maxsplit=1) or [""]
        value = "".join(rest).strip()
        if not value:
            raise DataError(f"{path}:{number}: expected an id and {what}; repair the line")
        if values.setdefault(name, value) != value:
            raise DataError(
                f"{path}:{number}: duplicate {name!r} with different values; remove one of the lines"
            )
    return values


CORPUS = PublishedCorpus(
    name="aishell2",
    facts=Facts(
        what="AISHELL-2: read Mandarin by iOS; dev and test (2 500 and 5 000 clips) by iOS, Android and microphone",
        licence="free for non-commercial research and education, on application",
        url="https://www.aishelltech.com/aishell_2",
        tasks=("asr",),
        subsets={"ios-train": Subset(1000.0, 1_000_000)},  # both rounded by the publisher
    ),
    read=read,
    by_hand="apply for AISHELL-2 at https://www.aishelltech.com/aishell_2, take its dev and test sets from "
    "http://www.aishelltech.com/aishell_eval, and unpack both side by side",
)
