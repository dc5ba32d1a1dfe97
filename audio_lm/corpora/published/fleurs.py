"""FLEURS: the same sentences read in a hundred languages; here the eight with a tag.

Layout: ``<language>/<train|dev|test>.tsv`` without a header and ``<language>/audio/<split>/<file>.wav``.

Source: Conneau et al., arXiv:2205.12446; https://huggingface.co/datasets/google/fleurs.
"""

from pathlib import Path

from audio_lm.corpora.published.base import (
    CutSetWriter,
    Facts,
    PublishedCorpus,
    find_folders,
    read_table_rows,
)

LANGUAGES = {
    "en_us": "en",
    "cmn_hans_cn": "zh",
    "de_de": "de",
    "es_419": "es",
    "ko_kr": "ko",
    "fr_fr": "fr",
    "ja_jp": "ja",
    "it_it": "it",
}
SPLITS = {"train": "train", "dev": "validation", "test": "test"}
COLUMNS = ("id", "file_name", "raw_transcription", "transcription", "characters", "num_samples", "gender")


def read(source: Path, writer: CutSetWriter) -> None:
    """Read all recordings; a sentence has several, so ids come from file names."""
    for root in find_folders(source, *LANGUAGES):
        for folder, language in LANGUAGES.items():
            for name, split in SPLITS.items():
                path = root / folder / f"{name}.tsv"
                for row in read_table_rows(path, separator="\t", columns=COLUMNS) if path.is_file() else ():
                    audio = root / folder / "audio" / name / row["file_name"]
                    gender = (
                        {"gender": row["gender"].lower()}
                        if row["gender"].lower() in ("male", "female")
                        else {}
                    )
                    labels = {"language": language, "text": row["raw_transcription"], **gender}
                    writer.add(f"{language}-{split}", f"{folder}-{name}-{audio.stem}", audio, labels)


CORPUS = PublishedCorpus(
    name="fleurs",
    facts=Facts(
        what="FLEURS: read sentences in eight languages, about ten hours of training in each",
        licence="CC BY 4.0",
        url="https://huggingface.co/datasets/google/fleurs",
        tasks=("asr", "lid", "sgc"),
    ),
    read=read,
    by_hand="take data/ of https://huggingface.co/datasets/google/fleurs and unpack every audio/*.tar.gz where it lies",
)
