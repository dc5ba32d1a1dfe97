"""Measure the scoring of saved predictions: seconds of one core for each metric.

Texts are drawn from a seed and have the length of typical answers: transcripts of 12 to 20 words, captions with five
references, questions with four choices, speaker turns, sound events, notes.
"""

import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from audio_lm.common.errors import UserError
from audio_lm.metrics.choices import ChoiceReference
from audio_lm.metrics.closed import ClosedScores
from audio_lm.metrics.registry import METRICS, MetricRow

NUM_PREDICTIONS = 10_000
WORDS = [
    "the",
    "a",
    "we",
    "they",
    "she",
    "twenty",
    "one",
    "two",
    "hundred",
    "dollars",
    "didn't",
    "it's",
    "morning",
    "house",
    "river",
    "window",
    "music",
    "colour",
    "children",
    "of",
    "to",
    "and",
    "in",
    "with",
    "for",
    "people",
    "time",
    "after",
    "before",
    "there",
    "where",
    "because",
    "station",
    "never",
    "always",
    "small",
    "large",
    "green",
    "opened",
    "closed",
    "spoke",
    "walked",
]
CHARACTERS = (
    "的一是不了在人有我他这中大来上个国到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可里"
)
LABELS = ("happy", "sad", "angry", "neutral", "surprised")
QUALITIES = ("bright", "dark", "distortion", "reverb", "percussive")
CHOICES = ("a dog barks", "a cat meows", "rain falls", "people talk")

Rows = tuple[list[Any], list[Any], list[str]]


@dataclass(frozen=True)
class ScoreFigure:
    """One figure of ``audio-lm bench score``."""

    metric: str
    """Name, and the language where it is not English."""

    num_predictions: int
    seconds: float | None
    """Seconds of one core; None if it cannot be measured here."""

    reason: str = ""
    """Why not."""


def bench_score(
    *, num_predictions: int = NUM_PREDICTIONS, names: Sequence[str] = ()
) -> Iterator[ScoreFigure]:
    """Measure metrics on drawn predictions, one after the other.

    Args:
        names: metrics; all if empty.
    """
    for name, language in _cases(names or list(METRICS.built_in)):
        row = METRICS[name]
        key = name if language == "en" else f"{name} ({language})"
        answers, references, languages = _rows(row, num_predictions, language)
        try:
            metric = row.build(sync_on_compute=False)
            metric.update(
                answers[:2], references[:2], languages[:2]
            )  # imports, and tables that are built once
            metric.reset()
            start = time.process_time()
            metric.update(answers, references, languages)
            metric.compute()
            yield ScoreFigure(key, num_predictions, time.process_time() - start)
        except UserError as error:
            yield ScoreFigure(key, num_predictions, None, str(error))


def _cases(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Metrics with the languages in which they do different work."""
    for name in names:
        yield name, "en"
        if name.startswith(("wer", "cer", "bleu")):
            yield name, "zh"


def _rows(row: MetricRow, count: int, language: str) -> Rows:
    draw = random.Random(f"{row.name} {language}")
    pairs = [_pair(row, draw, language, number) for number in range(count)]
    return [answer for answer, _ in pairs], [reference for _, reference in pairs], [language] * count


def _pair(row: MetricRow, draw: random.Random, language: str, number: int) -> tuple[Any, Any]:
    """Answer and reference of one clip, in the form that a metric takes."""
    if row.needs_choices:
        answer = draw.choice(["B", "(c)", "The answer is A.", "I think that rain falls.", "nothing", ""])
        return answer, ChoiceReference(draw.choice(CHOICES), CHOICES, number)
    if row.has_many_references:
        return _sentence(draw, language), [_sentence(draw, language) for _ in range(5)]
    module = row.class_path.partition(".")[0]
    if module == "closed":
        yes = draw.uniform(0.01, 0.99)
        return ClosedScores(("yes", "no"), (math.log(yes), math.log(1 - yes))), draw.choice(["yes", "no"])
    make = {"intervals": _spans, "notes": _note, "labels": _label}.get(module)
    if make is not None:
        return make(draw, row.name), make(draw, row.name)
    if row.name in ("cpwer", "orcwer"):
        return _speakers(draw), _speakers(draw)
    text = _sentence(draw, language)
    return _changed(draw, text), text


def _sentence(draw: random.Random, language: str) -> str:
    count = draw.randrange(12, 21)
    if language == "zh":
        return "".join(draw.choices(CHARACTERS, k=count)) + f"{draw.randrange(2000)}年。"
    return " ".join(draw.choices(WORDS, k=count)).capitalize() + "."


def _changed(draw: random.Random, text: str) -> str:
    letters = list(text)
    for _ in range(3):
        letters[draw.randrange(len(letters))] = "x"
    return "".join(letters)


def _speakers(draw: random.Random) -> str:
    return " <sc> ".join(_sentence(draw, "en") for _ in range(2))


def _label(draw: random.Random, name: str) -> str:
    if name in ("acc_binary", "eer"):
        return draw.choice(["yes", "no"])
    if name == "mae":
        return draw.choice(["twenties", "thirties", "forties"])
    if name == "map":
        return ", ".join(draw.sample(QUALITIES, 2))
    return draw.choice(LABELS)


def _note(draw: random.Random, _: str) -> str:
    qualities = ", ".join(draw.sample(QUALITIES, 2))
    return f"pitch {draw.randrange(40, 90)}, velocity {draw.randrange(128)}, instrument flute, qualities {qualities}"


def _spans(draw: random.Random, name: str) -> str:
    """Word stamps, sound events or speaker turns as plain text."""
    labels = WORDS if name.startswith("aas") else LABELS
    spans, time_ = [], 0.0
    for _ in range(8):
        end = time_ + draw.randrange(10, 90) / 100
        spans.append(f"{time_:.2f}-{end:.2f} {draw.choice(labels)}")
        time_ = end
    return ", ".join(spans)
