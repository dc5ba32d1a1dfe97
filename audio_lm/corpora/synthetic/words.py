"""Text in audio places: rows of text that replace clips.

A language model with random weights cannot transcribe, and while it is frozen, an encoder can learn from it only what it
already knows. So it is trained first on rows in which the embedding of each word is repeated over the audio tokens of
its duration, with gaps. Other labels of the clip (language, speaker, pitch, event) are scattered between the words. The
position of each word is exact, which also trains time stamps: one place is one audio token, 40 ms.

Rows correspond to clips written before, subset by subset: same labels, similar timing, no audio.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from lhotse.cut import Cut

from audio_lm.common.audio_units import TOKENS_PER_SECOND, Seconds
from audio_lm.common.rng import random_for
from audio_lm.corpora.synthetic.writing import CutWriter
from audio_lm.data.manifest.labels import units_of
from audio_lm.tasks.labels import RECORDING_START

GAP = ""
SCATTERED_LABELS = (
    "gender",
    "age",
    "dialect",
    "instrument",
    "genre",
    "title",
    "mood",
    "scene",
    "scenario",
    "action",
)
MAX_SCATTER = 0.4  # fraction of the places that contain other labels than words

Place = tuple[str, int]
Units = Sequence[tuple[str, Seconds, Seconds]]


def write_words(writer: CutWriter, *, subsets: Sequence[str], copies: int, seed: int) -> None:
    """Write ``words_<subset>-train`` for each subset that has training clips.

    Args:
        copies: rows per clip, each with its own random gaps and facts.
    """
    for subset in subsets:
        for cut in writer.cuts(f"{subset}-train"):
            for copy in range(copies):
                rng = random_for(seed, "words", cut.id, copy)
                labels, units = text_row(cut, rng)
                writer.add(f"words_{subset}-train", None, labels, units=units)


def text_row(
    cut: Cut, rng: np.random.Generator
) -> tuple[dict[str, Any], list[tuple[str, Seconds, Seconds]] | None]:
    """Labels of a clip with ``places`` instead of audio, and the times of its words."""
    supervision = cut.supervisions[0]
    labels = dict(supervision.custom or {})
    labels |= {"language": supervision.language} if supervision.language else {}
    labels |= {"text": supervision.text} if supervision.text else {}
    labels.pop(RECORDING_START, None)
    units = None if supervision.alignment is None else stretch_units(units_of(cut, supervision), rng)
    num_places = max(8, round(cut.duration * TOKENS_PER_SECOND))
    if units:
        num_places = int(units[-1][2] * TOKENS_PER_SECOND) + int(rng.integers(1, 8))
    places = _run_lengths(scatter_facts(_timeline(labels, units, num_places), facts_of(labels), rng))
    return labels | {"places": places}, units


def stretch_units(units: Units, rng: np.random.Generator) -> list[tuple[str, Seconds, Seconds]]:
    """Change tempo, start and gaps of words randomly, on a 10 ms grid."""
    tempo, position = rng.uniform(0.7, 1.3), rng.uniform(0.0, 0.5)
    moved, previous_end = [], units[0][1] if units else 0.0
    for symbol, start, end in units:
        position += (start - previous_end) * tempo + (rng.uniform(0.06, 0.5) if rng.random() < 0.3 else 0.0)
        seconds = max(0.08, (end - start) * tempo)
        moved.append((symbol, round(position, 2), round(position + seconds, 2)))
        position, previous_end = position + seconds, end
    return moved


def facts_of(labels: Mapping[str, Any]) -> list[str]:
    """Labels of a clip other than its words, each as one text or one markup token."""
    facts = [str(labels[key]) for key in SCATTERED_LABELS if key in labels]
    facts += [str(event) for event in labels.get("events", ())]
    facts += [str(quality) for quality in labels.get("qualities", ())]
    language = labels.get("language", "unknown")
    facts += [f"<|{language}|>"] if language != "unknown" else []
    for key in ("pitch", "velocity"):
        facts += [f"<|midi_{key}_{labels[key]}|>"] if key in labels else []
    return [fact if fact.startswith("<|") else f" {fact}" for fact in facts]


def scatter_facts(places: Sequence[str], facts: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Overwrite random places with facts, except the first place of a word and a gap before it.

    Otherwise a repeated word could not be distinguished from a word with a fact in its middle.

    >>> scatter_facts(["", "", " one", " one", ""], [" female"], np.random.default_rng(0))
    [' female', '', ' one', ' one', ' female']
    """
    free = [
        i
        for i, (text, following) in enumerate(zip(places, [*places[1:], GAP], strict=True))
        if (text == GAP and following == GAP) or (i and text == places[i - 1] != GAP)
    ]
    changed = list(places)
    if facts and free:
        fraction = rng.uniform(0.1, MAX_SCATTER) if any(places) else rng.uniform(0.5, 1.0)
        count = max(2 * len(facts), int(fraction * len(places)))
        for number, place in enumerate(rng.permutation(free)[:count]):
            changed[place] = facts[number % len(facts)]
    return changed


def _timeline(labels: Mapping[str, Any], units: Units | None, num_places: int) -> list[str]:
    """Word at each place, without facts."""
    places = [GAP] * num_places
    for symbol, start, end in units or ():
        first = round(start * TOKENS_PER_SECOND)
        # Without a gap, a repeated word would look like one long word.
        first += first > 0 and places[first - 1] == f" {symbol}"
        for place in range(first, max(first + 1, round(end * TOKENS_PER_SECOND))):
            places[min(place, num_places - 1)] = f" {symbol}"
    if units is None and "keyword" in labels:  # one word, somewhere in the middle
        places[2:-2] = [f" {labels['text']}"] * (num_places - 4)
    return places


def _run_lengths(places: Sequence[str]) -> list[Place]:
    """Run-length encoding of places.

    >>> _run_lengths(["", " one", " one", ""])
    [('', 1), (' one', 2), ('', 1)]
    """
    runs: list[Place] = []
    for text in places:
        if runs and runs[-1][0] == text:
            runs[-1] = (text, runs[-1][1] + 1)
        else:
            runs.append((text, 1))
    return runs
