"""ClothoAQA: questions about sounds of Clotho, each answered by three people.

Layout: ``clotho_aqa_<train|val|test>.csv`` and ``audio_files/``, in which one clip has a different name than in
the tables. Each answer is a separate cut.

Source: Lipping et al., arXiv:2204.09634; https://zenodo.org/records/6473207.
"""

from pathlib import Path

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.base import (
    CutSetWriter,
    Facts,
    PublishedCorpus,
    find_folders,
    read_table_rows,
)

RENAMED = {"souffle_me_tallique.wav": "souffle_me.tallique.wav"}  # name in the tables -> name in the archive
SPLITS = {"train": "questions-train", "val": "questions-validation", "test": "questions-test"}


def read(source: Path, writer: CutSetWriter) -> None:
    """Read all answers to all questions."""
    root = find_folders(source, "audio_files")[0]
    for name, subset_split in SPLITS.items():
        path = root / f"clotho_aqa_{name}.csv"
        for number, row in enumerate(read_table_rows(path) if path.is_file() else (), start=2):
            if not (row.get("file_name") and row.get("QuestionText") and row.get("answer")):
                raise DataError(
                    f"{path}:{number}: expected a file_name, a QuestionText and an answer; repair the line"
                )
            audio = root / "audio_files" / row["file_name"]
            if not audio.is_file() and row["file_name"] in RENAMED:
                audio = audio.with_name(RENAMED[row["file_name"]])
            labels = {"question": row["QuestionText"], "answer": row["answer"]}
            writer.add(subset_split, f"{name}-{number}", audio, labels)


CORPUS = PublishedCorpus(
    name="clotho_aqa",
    facts=Facts(
        what="ClothoAQA: 1 991 sounds of 15 to 30 s with six questions each and three answers to every question",
        licence="MIT; clips under licences of their own",
        url="https://zenodo.org/records/6473207",
        tasks=("aqa",),
    ),
    read=read,
    by_hand="download and unpack the files of https://zenodo.org/records/6473207",
)
