"""MMAU: multiple-choice questions about sound, music and speech; the 1 000 of test-mini, whose answers are published.

Layout: ``mmau-test-mini.json`` and ``test-mini-audios/``. Answers of the large test set are withheld, so it is not read.

Source: Sakshi et al., arXiv:2410.19168; https://github.com/Sakshi113/MMAU.
"""

from pathlib import Path

from audio_lm.corpora.published.base import CutSetWriter, Facts, PublishedCorpus, find_folders
from audio_lm.corpora.published.choice_questions import choice_labels
from audio_lm.corpora.published.json_rows import read_json_rows

TABLE = "mmau-test-mini.json"


def read(source: Path, writer: CutSetWriter) -> None:
    """Read all questions of test-mini."""
    root = find_folders(source, TABLE)[0]
    for row in read_json_rows(root / TABLE, ("id", "audio_id", "question", "choices", "answer")):
        audio = root / row["audio_id"]
        labels = choice_labels(row["question"], row["choices"], row["answer"], f"{root / TABLE}: {row['id']}")
        if audio.is_file():
            writer.add("test_mini-test", row["id"], audio, labels)
        else:
            writer.leave_out(row["id"])


CORPUS = PublishedCorpus(
    name="mmau",
    facts=Facts(
        what="MMAU, test-mini: 1 000 multiple-choice questions about sound, music and speech",
        licence="CC BY-NC 4.0 by its data page; clips under licences of their own",
        url="https://github.com/Sakshi113/MMAU",
        tasks=("aqa", "mqa"),
    ),
    read=read,
    by_hand="take mmau-test-mini.json from https://github.com/Sakshi113/MMAU, and its audio from the links there",
)
