"""Text in audio places: rows of text that stand for clips.

A language model made from nothing has no idea what a transcript is, and while
it is frozen it can teach an encoder only what it knows. So it first reads rows
in which every word's own embedding is repeated over the places its sound would
fill, with gaps, and what else is known of the clip (language, speaker, pitch,
event) stands scattered between. The place of each word is known exactly, which
teaches time stamps too: one place is one audio token, 40 ms.

The rows mirror clips that were written before, subset by subset: the same
labels, the same timing, no sound.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from lhotse.cut import Cut

from audio_lm.common.audio_units import TOKENS_PER_SECOND, Seconds
from audio_lm.common.runtime import random_for
from audio_lm.corpora.synthetic.writing import CutWriter
from audio_lm.data.manifest.labels import RECORDING_START, units_of

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
MAX_SCATTER = 0.4  # share of the places that tell something other than words

Place = tuple[str, int]
Units = Sequence[tuple[str, Seconds, Seconds]]


def write_words(writer: CutWriter, *, subsets: Sequence[str], copies: int, seed: int) -> None:
    """Write ``words_<subset>-train`` for each subset that has training clips.

    Args:
        copies: rows per clip, each with gaps and scatter of its own.
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
    """The labels of a clip with places instead of sound, and the times of its words."""
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
    """The same words at another pace, with another start and other gaps, on the 10 ms grid."""
    pace, at = rng.uniform(0.7, 1.3), rng.uniform(0.0, 0.5)
    moved, before = [], units[0][1] if units else 0.0
    for symbol, start, end in units:
        at += (start - before) * pace + (rng.uniform(0.06, 0.5) if rng.random() < 0.3 else 0.0)
        long = max(0.08, (end - start) * pace)
        moved.append((symbol, round(at, 2), round(at + long, 2)))
        at, before = at + long, end
    return moved


def facts_of(labels: Mapping[str, Any]) -> list[str]:
    """What is known of a clip beside its words, each as one text or one markup token."""
    facts = [str(labels[key]) for key in SCATTERED_LABELS if key in labels]
    facts += [str(event) for event in labels.get("events", ())]
    facts += [str(quality) for quality in labels.get("qualities", ())]
    language = labels.get("language", "unknown")
    facts += [f"<|{language}|>"] if language != "unknown" else []
    for key in ("pitch", "velocity"):
        facts += [f"<|midi_{key}_{labels[key]}|>"] if key in labels else []
    return [fact if fact.startswith("<|") else f" {fact}" for fact in facts]


def scatter_facts(places: Sequence[str], facts: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Some places overwritten by facts; where a word begins, it stays, and so does a gap before it.

    Else nobody could tell a word said twice from one with a fact in its middle.

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
        share = rng.uniform(0.1, MAX_SCATTER) if any(places) else rng.uniform(0.5, 1.0)
        count = max(2 * len(facts), int(share * len(places)))
        for number, place in enumerate(rng.permutation(free)[:count]):
            changed[place] = facts[number % len(facts)]
    return changed


def _timeline(labels: Mapping[str, Any], units: Units | None, num_places: int) -> list[str]:
    """What is said at each place."""
    places = [GAP] * num_places
    for symbol, start, end in units or ():
        first = round(start * TOKENS_PER_SECOND)
        # A word said twice in a row would look like one long word.
        first += first > 0 and places[first - 1] == f" {symbol}"
        for place in range(first, max(first + 1, round(end * TOKENS_PER_SECOND))):
            places[min(place, num_places - 1)] = f" {symbol}"
    if units is None and "keyword" in labels:  # one word, somewhere in the middle
        places[2:-2] = [f" {labels['text']}"] * (num_places - 4)
    return places


def _run_lengths(places: Sequence[str]) -> list[Place]:
    """Neighbouring equal places counted together.

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
