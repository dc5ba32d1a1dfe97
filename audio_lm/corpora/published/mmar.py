"""MMAR: 1 000 multiple-choice questions that need several steps, about sound, music, speech and mixtures of them.

Layout: ``MMAR-meta.jsonl`` (or ``.json``) and ``audio/``.

Source: Ma et al., arXiv:2505.13032; https://github.com/ddlBoJack/MMAR.
"""

import json
from pathlib import Path

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.base import CutSetWriter, Facts, PublishedCorpus, find_folders
from audio_lm.corpora.published.choice_questions import choice_labels, required
from audio_lm.corpora.published.json_rows import read_json_rows

LINES, LIST = "MMAR-meta.jsonl", "MMAR-meta.json"
KEYS = ("id", "audio_path", "question", "choices", "answer")


def read(source: Path, writer: CutSetWriter) -> None:
    """Read all questions."""
    root = find_folders(source, LINES, LIST)[0]
    rows = _lines(root / LINES) if (root / LINES).is_file() else read_json_rows(root / LIST, KEYS)
    for row in rows:
        where = f"{root}: question {row.get('id')!r}"
        name, path, question, choices, answer = required(row, KEYS, where)
        audio = root / path
        if audio.is_file():
            writer.add("all-test", name, audio, choice_labels(question, choices, answer, where))
        else:
            writer.leave_out(name)


def _lines(path: Path) -> list[dict]:
    rows = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise DataError(f"{path}:{number}: not JSON ({error}); download the file again") from error
    return rows


CORPUS = PublishedCorpus(
    name="mmar",
    facts=Facts(
        what="MMAR: 1 000 multiple-choice questions that need several steps, about sound, music, speech and their mixtures",
        licence="CC BY-NC 4.0 by its data page; clips of web videos",
        url="https://github.com/ddlBoJack/MMAR",
        tasks=("aqa", "mqa"),
    ),
    read=read,
    by_hand="download https://huggingface.co/datasets/BoJack/MMAR and unpack mmar-audio.tar.gz",
)
