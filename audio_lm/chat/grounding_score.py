"""Score of words found and deleted, on clips whose words have known times.

In each clip one word is looked for, and every occurrence of it is deleted; the result is transcribed by the same model.
"""

import math
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile

from audio_lm.chat.editing import Edit, edit_file
from audio_lm.chat.grounding import Span, ground, words_in
from audio_lm.common.audio_units import SAMPLES_PER_SECOND, Seconds
from audio_lm.common.errors import DataError
from audio_lm.common.rng import random_for
from audio_lm.data.manifest.cuts import load_waves
from audio_lm.data.manifest.labels import labels_of
from audio_lm.run.ask import AnsweringModel

WORD_TASK = "asr"


@dataclass(frozen=True)
class GroundingFigures:
    """Score of a model."""

    num_clips: int
    num_occurrences: int
    """Of the wanted words, in the references."""

    num_found: int
    median_s: Seconds
    """Median of the larger error of start and end; an occurrence that was not found has an infinite one."""

    p90_s: Seconds
    num_deletions: int
    """Clips in which the word was found and others are left."""

    num_removed: int
    """Of them, those whose transcript does not have the word any more."""

    num_intact: int
    """Of them, those whose transcript is that of the whole clip without the word."""


@dataclass
class _Sums:
    """Results of the clips so far."""

    errors: list[Seconds]
    deletions: list[tuple[bool, bool]]  # removed, intact


def score_grounding(model: AnsweringModel, cuts: Sequence[Any]) -> GroundingFigures:
    """Find and delete a word in every clip.

    Args:
        cuts: of Lhotse, with alignments.

    Raises:
        DataError: no clip has the times of its words.
        UserError: the model writes no time stamps.
    """
    sums = _Sums([], [])
    num_clips = 0
    with tempfile.TemporaryDirectory() as folder:
        for number, cut in enumerate(cuts):
            units = labels_of(cut).get("units")
            if units:
                num_clips += 1
                truth = [Span(word, start, end) for word, start, end in units]
                _score_clip(model, cut, truth, Path(folder) / f"{number}.wav", sums)
    if not sums.errors:
        raise DataError(
            f"none of {len(cuts)} clips has the times of its words; choose a cut-set with alignments"
        )
    ordered = sorted(sums.errors)
    return GroundingFigures(
        num_clips=num_clips,
        num_occurrences=len(ordered),
        num_found=sum(map(math.isfinite, ordered)),
        median_s=statistics.median_low(ordered),
        p90_s=ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))],
        num_deletions=len(sums.deletions),
        num_removed=sum(removed for removed, _ in sums.deletions),
        num_intact=sum(intact for _, intact in sums.deletions),
    )


def format_grounding(figures: GroundingFigures) -> str:
    """Format the score as a sentence."""
    return (
        f"{figures.num_clips} clips: {figures.num_found} of {figures.num_occurrences} occurrences found, error of start or end "
        f"{1000 * figures.median_s:.0f} ms (median), {1000 * figures.p90_s:.0f} ms (90 %)\n"
        f"{figures.num_deletions} deletions: the word is gone from {figures.num_removed} transcripts, and the others are as "
        f"before in {figures.num_intact}"
    )


def _score_clip(model: AnsweringModel, cut: Any, truth: Sequence[Span], path: Path, sums: _Sums) -> None:
    soundfile.write(path, load_waves(cut)[0], SAMPLES_PER_SECOND, subtype="PCM_16")
    words = sorted({span.words for span in truth})
    wanted = words[int(random_for("ground", cut.id).integers(len(words)))]
    found = ground(model, path, wanted)
    sums.errors += _errors([span for span in truth if span.words == wanted], found.spans)
    if not found.spans or len(words) == 1:
        return
    edited = path.with_suffix(".edited.wav")
    edit_file(path, edited, list(found.spans), Edit("delete"))
    before, after = (words_in(_transcribe(model, place)) for place in (path, edited))
    is_removed = wanted not in after
    sums.deletions.append((is_removed, after == [word for word in before if word != wanted]))


def _errors(truth: Sequence[Span], found: Sequence[Span]) -> Iterator[Seconds]:
    """Larger error of start and end of each true occurrence, to the nearest that was found and not used before."""
    unused = list(found)
    for span in truth:
        errors = [max(abs(one.start - span.start), abs(one.end - span.end)) for one in unused]
        best = min(range(len(unused)), key=errors.__getitem__, default=None)
        yield math.inf if best is None else errors[best]
        if best is not None:
            del unused[best]


def _transcribe(model: AnsweringModel, path: Path) -> str:
    language = {"language": "en"}
    (answer,) = model.ask([path], task=WORD_TASK, prompt="tags", labels=language)
    return answer.text
