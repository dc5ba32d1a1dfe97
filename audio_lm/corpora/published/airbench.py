"""AIR-Bench: single-choice questions about speech, sound and music, and open questions scored by a language model.

Layout: ``Foundation/Foundation_meta.json`` and ``Chat/Chat_meta.json``, clips in ``<task>_<dataset>/`` next to them.
All splits are ``test``. ``foundation`` has one subset for each task, ``chat`` one for each group of its published
scores. Missing clips are counted and left out, as in the publisher's scripts. Some clips of SpokenWOZ are broken
(issue 1 of the repository): remove them. The recipe's prompt has to request the letter of the answer.

Source: Yang et al., arXiv:2402.07729; https://github.com/OFA-Sys/AIR-Bench, ``Inference_*.py`` and ``cal_score.py``.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.base import CutSetWriter, Facts, PublishedCorpus, find_folders
from audio_lm.corpora.published.json_rows import read_json_rows
from audio_lm.evaluation.judge.questions import AIR_BENCH_GROUPS

FOUNDATION, CHAT = "Foundation", "Chat"
REQUIRED = ("uniq_id", "path", "task_name", "dataset_name", "question", "answer_gt")
CHOICES = {"A": "choice_a", "B": "choice_b", "C": "choice_c", "D": "choice_d"}
GROUP_OF_CHAT = {task: group.replace(" ", "_") for task, group in AIR_BENCH_GROUPS.items()}
FLAC_TASK = "Audio_Grounding"  # its clips are FLAC, whatever suffix the row has: Inference_Foundation.py


def read(source: Path, writer: CutSetWriter) -> None:
    """Read all questions of the existing halves."""
    for root in find_folders(source, f"{FOUNDATION}/{FOUNDATION}_meta.json", f"{CHAT}/{CHAT}_meta.json"):
        for half in (FOUNDATION, CHAT):
            if (root / half / f"{half}_meta.json").is_file():
                _read_half(root / half, half, writer)


def _read_half(folder: Path, half: str, writer: CutSetWriter) -> None:
    path = folder / f"{half}_meta.json"
    for row in read_json_rows(path, REQUIRED):
        cut_id = f"{half.lower()}-{row['uniq_id']}"
        subset, labels = (_single_choice if half == FOUNDATION else _open)(row, f"{path}: {cut_id}")
        audio = folder / f"{row['task_name']}_{row['dataset_name']}" / str(row["path"])
        audio = audio.with_suffix(".flac") if row["task_name"] == FLAC_TASK else audio
        if audio.is_file():
            writer.add(f"{subset}-test", cut_id, audio, labels)
        else:
            writer.leave_out(cut_id)


def _single_choice(row: Mapping[str, Any], where: str) -> tuple[str, dict[str, str]]:
    """Subset and labels; the answer is letter and text of the correct choice."""
    choices = {letter: str(row[key]) for letter, key in CHOICES.items() if row.get(key) not in (None, "")}
    correct = [letter for letter, text in choices.items() if text == str(row["answer_gt"])]
    if not correct:
        raise DataError(f"{where}: answer_gt {row['answer_gt']!r} is none of its choices; repair the row")
    lines = [str(row["question"]), *(f"{letter}. {text}" for letter, text in choices.items())]
    subset = re.sub(r"\W+", "_", str(row["task_name"])).lower()
    return f"foundation_{subset}", {
        "question": "\n".join(lines),
        "answer": f"{correct[0]}. {choices[correct[0]]}",
    }


def _open(row: Mapping[str, Any], where: str) -> tuple[str, dict[str, str]]:
    """Subset and labels; the answer is a reference for scoring."""
    if (task := row["task_name"]) not in GROUP_OF_CHAT:
        raise DataError(f"{where}: task {task!r} is none of {', '.join(GROUP_OF_CHAT)}; repair the row")
    labels = {"question": str(row["question"]), "answer": str(row["answer_gt"])}
    if row.get("meta_info"):
        labels["description"] = str(row["meta_info"])  # for a judge, which has no audio
    return f"chat_{GROUP_OF_CHAT[task]}", labels


CORPUS = PublishedCorpus(
    name="airbench",
    facts=Facts(
        what="AIR-Bench: about 19 000 single-choice questions of 19 tasks and 2 000 open ones",
        licence="Apache-2.0 by its repository, CC BY-NC 4.0 by its data page; clips under licences of their own",
        url="https://github.com/OFA-Sys/AIR-Bench",
        tasks=("aqa", "mqa"),
    ),
    read=read,
    by_hand="download https://huggingface.co/datasets/qyang1021/AIR-Bench-Dataset, both folders",
)
