"""MUSIC-AVQA: questions about music performances; here those that the audio alone can answer.

Layout: ``data/json/avqa-<train|val|test>.json``, and the audio of the videos where the publisher's script writes it,
``data/audio/<video_id>.wav``. Questions of the types ``Audio-Visual`` and ``Visual`` are about the picture and are
skipped. Each question is a cut.

Source: Li et al., CVPR 2022; https://github.com/GeWu-Lab/MUSIC-AVQA, readme, "Usage", and its tables.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.base import (
    CutSetWriter,
    Facts,
    PublishedCorpus,
    Subset,
    find_folders,
)
from audio_lm.corpora.published.json_rows import read_json_rows

SPLITS = {"train": "audio-train", "val": "audio-validation", "test": "audio-test"}
AUDIO_TYPE = "Audio"
PLACEHOLDER = re.compile(r"<\w+>")
REQUIRED = ("video_id", "type", "question_content", "templ_values", "anser")  # the publisher's spelling
# Questions of the type Audio, counted in the publisher's tables; hours by its readme, 150 for 9 288 videos.
NUM_QUESTIONS = {"audio-validation": 814, "audio-test": 1623}
HOURS_OF_VIDEO = 150 / 9288


def read(source: Path, writer: CutSetWriter) -> None:
    """Read all questions about the audio alone."""
    root = find_folders(source, *(f"json/avqa-{name}.json" for name in SPLITS))[0]
    for name, subset_split in SPLITS.items():
        path = root / "json" / f"avqa-{name}.json"
        for number, row in enumerate(read_json_rows(path, REQUIRED) if path.is_file() else (), start=1):
            where = f"{path}: row {number}"
            if _parse_list(row, "type", where)[:1] != [AUDIO_TYPE]:
                continue
            audio = root / "audio" / f"{row['video_id']}.wav"
            if not audio.is_file():
                raise DataError(
                    f"{audio} is missing; extract it with `ffmpeg -i {root}/video/{row['video_id']}.mp4 "
                    f"-ac 1 -ar 16000 {audio}`"
                )
            labels = {"question": _fill_question(row, where), "answer": row["anser"]}
            writer.add(subset_split, f"{name}-{number}", audio, labels)  # question_id is not unique


def _fill_question(row: Mapping[str, Any], where: str) -> str:
    """The question, with its placeholders filled in order."""
    values = iter(_parse_list(row, "templ_values", where))
    try:
        question = PLACEHOLDER.sub(lambda _: str(next(values)).replace("_", " "), row["question_content"])
    except StopIteration:
        raise DataError(
            f"{where}: the question has more placeholders than templ_values; repair the row"
        ) from None
    return question.strip()


def _parse_list(row: Mapping[str, Any], key: str, where: str) -> list[Any]:
    """Parse a list that is stored as JSON text."""
    try:
        values = json.loads(row[key])
    except (TypeError, json.JSONDecodeError):
        values = None
    if not isinstance(values, list):
        raise DataError(f"{where}: {key} is {row[key]!r} -- expected a JSON list; repair the row")
    return values


CORPUS = PublishedCorpus(
    name="music_avqa",
    facts=Facts(
        what="MUSIC-AVQA: questions about music being played, 45 867 with those about the picture, 9 288 videos",
        licence="MIT by its licence file, GPL-3.0 by its readme; videos under terms of their own",
        url="https://github.com/GeWu-Lab/MUSIC-AVQA",
        tasks=("mqa",),
        subsets={name: Subset(clips * HOURS_OF_VIDEO, clips) for name, clips in NUM_QUESTIONS.items()},
    ),
    read=read,
    by_hand=(
        "take data/json of https://github.com/GeWu-Lab/MUSIC-AVQA and the videos its readme links, and take their "
        "sound out into data/audio"
    ),
)
