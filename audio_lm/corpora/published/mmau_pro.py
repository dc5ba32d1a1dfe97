"""MMAU-Pro: its closed questions, with choices and one or several clips.

Layout: ``test.parquet`` and ``data/``, to which its paths point. Open questions and those of instruction following have no
choices and are not read.

Source: Kumar et al., arXiv:2508.13992; https://github.com/sonalkum/MMAUPro.
"""

from pathlib import Path
from typing import Any

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.base import CutSetWriter, Facts, PublishedCorpus, find_folders
from audio_lm.corpora.published.choice_questions import choice_labels, required

TABLE = "test.parquet"
KEYS = ("id", "audio_path", "question", "choices", "answer")


def read(source: Path, writer: CutSetWriter) -> None:
    """Read all questions with choices."""
    root = find_folders(source, TABLE)[0]
    for row in _rows(root / TABLE):
        if not row.get("choices") or len(row["choices"]) < 2:
            continue
        where = f"{root / TABLE}: question {row.get('id')!r}"
        name, paths, question, choices, answer = required(row, KEYS, where)
        clips = [root / path for path in ([paths] if isinstance(paths, str) else paths)]
        if clips and all(clip.is_file() for clip in clips):
            labels = choice_labels(question, choices, answer, where)
            writer.add("closed-test", name, clips[0], labels, more_audio=clips[1:])
        else:
            writer.leave_out(name)


def _rows(path: Path) -> list[dict[str, Any]]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path} is not parquet ({error}); download it again") from error
    return table.select([name for name in table.column_names if name != "audio"]).to_pylist()


CORPUS = PublishedCorpus(
    name="mmau_pro",
    facts=Facts(
        what="MMAU-Pro: its multiple-choice questions about sound, music, speech, mixtures, long and several clips",
        licence="CC BY-NC 4.0 by its data page; clips from the web",
        url="https://github.com/sonalkum/MMAUPro",
        tasks=("aqa", "mqa"),
    ),
    read=read,
    by_hand="download https://huggingface.co/datasets/gamma-lab-umd/MMAU-Pro and unpack data.zip",
)
