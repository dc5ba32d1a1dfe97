"""Clips of cut-sets with the answers that their labels give."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lhotse import MonoCut

from audio_lm.common.audio_units import MAX_SECONDS
from audio_lm.common.errors import DataError
from audio_lm.common.rng import random_for
from audio_lm.corpora.synthesis.facts import SECONDS, TABLE
from audio_lm.corpora.synthetic.known_clips import KnownClip, Pools
from audio_lm.data.manifest import shar
from audio_lm.data.manifest.cuts import cut_set_path
from audio_lm.data.manifest.json_lines import InvalidLineError
from audio_lm.data.manifest.labels import labels_of
from audio_lm.data.manifest.lhotse_cut import read_cut
from audio_lm.data.manifest.line import id_in

MAX_CLIPS = 20_000  # of each cut-set, drawn by the seed; their cuts are kept in memory
NOT_OF_A_CLIP = frozenset({"conversation", "same_speaker", "places"})  # labels of another kind of row


def read_pools(data_dir: Path, sources: Sequence[str], *, seed: int) -> Pools:
    """Clips of cut-sets by question and answer.

    Raises:
        DataError: a cut-set is missing, a line is invalid, or no label answers a question.
    """
    clips: dict[str, dict[str, list[KnownClip]]] = {}
    for source in dict.fromkeys(sources):
        for clip in _clips_of(data_dir, source, seed):
            for name, answer in clip.answers.items():
                clips.setdefault(name, {}).setdefault(answer, []).append(clip)
    if not any(question.name in clips for question in TABLE.questions):
        labels = ", ".join(sorted({str(question.label) for question in TABLE.questions}))
        raise DataError(
            f"{', '.join(sources)}: no clip of up to {MAX_SECONDS:.0f} s has a label that answers a question -- expected one "
            f"of {labels}; choose other cut-sets"
        )
    return Pools(clips, TABLE)


def _clips_of(data_dir: Path, source: str, seed: int) -> list[KnownClip]:
    """Clips of one cut-set that answer a question."""
    path = cut_set_path(data_dir, source)
    num_lines = sum(1 for _ in shar.lines_of(path))
    chosen = set(random_for(seed, "clips", source).permutation(num_lines)[:MAX_CLIPS].tolist())
    clips = []
    for number, line in enumerate(shar.lines_of(path)):
        if number not in chosen:
            continue
        try:
            cut = read_cut(line.text)
        except InvalidLineError as error:
            raise DataError(
                f"{line.file}:{line.number}: cut {id_in(line.text)!r}: {error}; repair the line or remove it"
            ) from error
        if isinstance(cut, MonoCut) and cut.has_recording and cut.duration <= MAX_SECONDS:
            clips += _known(cut, source)
    return clips


def _known(cut: MonoCut, source: str) -> list[KnownClip]:
    labels: Mapping[str, Any] = {**labels_of(cut), SECONDS: cut.duration}
    if NOT_OF_A_CLIP & labels.keys():
        return []
    declared = labels.get("honesty") or {}
    answers = {
        question.name: answer
        for question in (*TABLE.questions, *TABLE.compared)
        if (answer := question.answer(labels)) is not None
    }
    honesty = {name: declared.get(TABLE.question(name).label, "declared") for name in answers}
    has_question = any(question.name in answers for question in TABLE.questions)
    return [KnownClip(cut, answers, honesty, source)] if has_question else []
