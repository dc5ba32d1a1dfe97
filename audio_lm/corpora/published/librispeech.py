"""LibriSpeech: about 1 000 hours of read English, with word times where alignments exist.

Layout: ``<subset>/<speaker>/<chapter>/<speaker>-<chapter>-<number>.flac``, transcripts in
``<speaker>-<chapter>.trans.txt``, speakers in ``SPEAKERS.TXT``. Alignments are those of
LibriSpeech-Alignments in condensed form, ``<speaker>-<chapter>.alignment.txt``, in the same folders.

Source: https://www.openslr.org/12; hours and clips from Panayotov et al., ICASSP 2015, table 1, and
https://github.com/CorentinJ/librispeech-alignments for the alignments.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.base import CutSetWriter, Facts, PublishedCorpus, Subset, find_folders
from audio_lm.corpora.published.download import Archive

URL = "https://www.openslr.org/resources/12"
SPLITS = {
    "dev-clean": ("dev_clean-validation", Subset(5.4, 2703), "42e2234ba48799c1f50f24a7926300a1"),
    "dev-other": ("dev_other-validation", Subset(5.3, 2864), "c8d0bcc9cca99d4f8b62fcc847357931"),
    "test-clean": ("test_clean-test", Subset(5.4, 2620), "32fa31d27d2e1cad72775fee3f4849a9"),
    "test-other": ("test_other-test", Subset(5.1, 2939), "fb5a50374b501bb3bac4815ee91d3135"),
    "train-clean-100": ("train_clean_100-train", Subset(100.6, 28539), "2a93770f6d5c6c964bc36631d331a522"),
    "train-clean-360": ("train_clean_360-train", Subset(363.6, 104014), "c0e676e450a7ff2f54aeade5171606fa"),
    "train-other-500": ("train_other_500-train", Subset(496.7, 148688), "d1a0fd59409feb2c614ce4d30c387708"),
}
GENDERS = {"M": "male", "F": "female"}
ALIGNED = re.compile(r'(?P<id>\S+) "(?P<words>[^"]*)" "(?P<ends>[^"]*)"')

Units = list[tuple[str, float, float]]


def read(source: Path, writer: CutSetWriter) -> None:
    """Read all existing subsets."""
    for root in find_folders(source, *SPLITS):
        genders = dict(_genders(root / "SPEAKERS.TXT"))
        for folder, (subset_split, _, _) in SPLITS.items():
            for transcript in sorted((root / folder).glob("*/*/*.trans.txt")):
                _read_chapter(transcript, subset_split, genders, writer)


def _read_chapter(
    transcript: Path, subset_split: str, genders: Mapping[str, str], writer: CutSetWriter
) -> None:
    units = dict(_units(transcript.with_name(transcript.name.replace(".trans.", ".alignment."))))
    for number, line in enumerate(transcript.read_text(encoding="utf-8").splitlines(), start=1):
        name, _, text = line.partition(" ")
        if not text:
            raise DataError(f"{transcript}:{number}: expected an id and a text; repair the line")
        speaker = name.partition("-")[0]
        gender = {"gender": genders[speaker]} if speaker in genders else {}
        labels = {"language": "en", "text": text.lower(), "speaker": speaker, **gender}
        writer.add(subset_split, name, transcript.with_name(f"{name}.flac"), labels, units=units.get(name))


def _genders(path: Path) -> Iterator[tuple[str, str]]:
    """Yield speaker and gender; nothing where the table is missing."""
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        fields = [field.strip() for field in line.split("|")]
        if not line.startswith(";") and len(fields) > 1 and fields[1] in GENDERS:
            yield fields[0], GENDERS[fields[1]]


def _units(path: Path) -> Iterator[tuple[str, Units]]:
    """Yield id and timed words; a file lists words (empty for a silence) and their end times."""
    for number, line in enumerate(
        path.read_text(encoding="utf-8").splitlines() if path.is_file() else (), start=1
    ):
        match = ALIGNED.fullmatch(line.strip())
        words = match["words"].lower().split(",") if match else []
        ends = [float(end) for end in match["ends"].split(",")] if match else []
        if not match or len(words) != len(ends):
            raise DataError(
                f"{path}:{number}: expected as many words as end times; download the alignments again"
            )
        starts = [0.0, *ends]
        yield (
            match["id"],
            [(word, start, end) for word, start, end in zip(words, starts, ends, strict=False) if word],
        )


CORPUS = PublishedCorpus(
    name="librispeech",
    facts=Facts(
        what="LibriSpeech: read English, word times where the alignments are beside it",
        licence="CC BY 4.0",
        url="https://www.openslr.org/12",
        tasks=("asr", "srwt-en", "sgc"),
        subsets={subset_split: subset for subset_split, subset, _ in SPLITS.values()},
    ),
    read=read,
    archives=tuple(Archive(f"{URL}/{name}.tar.gz", md5=md5) for name, (_, _, md5) in SPLITS.items()),
)
