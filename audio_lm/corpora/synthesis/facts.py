"""Questions that the labels of a clip answer, for clips of any cut-set.

Answers are short and contain nothing that the labels do not state, so that they can be scored by exact match.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from audio_lm.common.languages import NAME_OF_LANGUAGE, UNKNOWN_LANGUAGE
from audio_lm.corpora.synthesis.fact_wordings import WORDINGS
from audio_lm.corpora.synthetic.comparisons import Comparison, same
from audio_lm.corpora.synthetic.known_clips import QuestionTable
from audio_lm.corpora.synthetic.questions import AnswerKind, Question

Labels = Mapping[str, Any]
SECONDS = "seconds"  # length of the clip, beside its labels
MIN_RATIO = 1.25  # of two lengths that are compared
MAX_WORDS = 60  # of a transcript that is an answer


def _value(name: str) -> Callable[[Labels], str | None]:
    """Reader of a label that is a text or a number."""

    def read(labels: Labels) -> str | None:
        value = labels.get(name)
        value = value[0] if isinstance(value, list) and value else value
        return str(value).strip() or None if isinstance(value, str | int | float) else None

    return read


def transcript(labels: Labels) -> str | None:
    """Spoken text, if it is short enough."""
    words = (labels.get("text") or "").split()
    return " ".join(words) if 0 < len(words) <= MAX_WORDS else None


def num_words(labels: Labels) -> str | None:
    """Number of words of the text, in figures."""
    text = labels.get("text") or ""
    return str(len(text.split())) if len(text.split()) > 1 else None


def language(labels: Labels) -> str | None:
    """English name of the spoken language."""
    return NAME_OF_LANGUAGE.get(labels.get("language") or UNKNOWN_LANGUAGE)


def keyword(labels: Labels) -> str | None:
    """Keyword, if there is one."""
    word = _value("keyword")(labels)
    return None if word == "none" else word


def word_times(position: int) -> Callable[[Labels], str | None]:
    """Reader of the seconds of a word of the alignment."""

    def read(labels: Labels) -> str | None:
        units = [unit for unit in labels.get("units") or () if str(unit[0]).strip()]
        return _span(units[position][1], units[position][2]) if len(units) > 1 else None

    return read


def event_list(labels: Labels) -> str | None:
    """Sounds of the clip, with commas."""
    names = labels.get("events") or [name for name, _, _ in _events(labels)]
    return ", ".join(dict.fromkeys(map(str, names))) or None


def num_events(labels: Labels) -> str | None:
    """Number of sounds, in figures."""
    return str(len(_events(labels))) if labels.get("event_times") else None


def event_at(position: int) -> Callable[[Labels], str | None]:
    """Reader of the name of a sound, by its start."""

    def read(labels: Labels) -> str | None:
        events = _events(labels)
        return str(events[position][0]) if len(events) > 1 else None

    return read


def event_times(labels: Labels) -> str | None:
    """Seconds of the first sound."""
    events = _events(labels)
    return _span(events[0][1], events[0][2]) if events else None


def num_speakers(labels: Labels) -> str | None:
    """Number of speakers who take turns, in figures."""
    turns = labels.get("turns")
    return str(len({speaker for speaker, _, _ in turns})) if turns else None


def length(labels: Labels) -> str:
    """Length of the clip in seconds; compared only."""
    return f"{labels[SECONDS]:.2f}"


def longer(first: str, second: str) -> str | None:
    """Name of the clip that lasts longer, or has more words; None if they are close."""
    low, high = sorted((float(first), float(second)))
    if high < MIN_RATIO * low or low == high:
        return None
    return "audio 1" if float(first) > float(second) else "audio 2"


def _events(labels: Labels) -> list[Any]:
    return sorted(labels.get("event_times") or (), key=lambda event: float(event[1]))


def _span(start: float, end: float) -> str:
    return f"from {start:.2f} to {end:.2f} seconds"


class AnswerOfLabels(Protocol):
    """Reader of an answer from the labels of a clip."""

    def __call__(self, labels: Labels, /) -> str | None:
        """Answer; None if the labels contain none."""


def _question(
    name: str,
    answer: AnswerOfLabels,
    label: str | None,
    kind: AnswerKind = "choice",
    corruption: str = "another answer",
) -> Question:
    return Question(
        name=name,
        share=1.0,
        answer=answer,
        label=label,
        wordings=WORDINGS[name],
        kind=kind,
        corruption=corruption,
    )


QUESTIONS: Sequence[Question] = (
    _question("text", transcript, "text", "words"),
    _question("num_words", num_words, "text", "count"),
    _question("language", language, "language", corruption="another language"),
    _question("gender", _value("gender"), "gender", corruption="another speaker"),
    _question("age", _value("age"), "age", corruption="another speaker"),
    _question("dialect", _value("dialect"), "dialect", corruption="another speaker"),
    _question("emotion", _value("emotion"), "emotion", corruption="another emotion"),
    _question("num_speakers", num_speakers, "turns", "count"),
    _question("keyword", keyword, "keyword", corruption="another word"),
    _question("first_word_times", word_times(0), "units", "times"),
    _question("last_word_times", word_times(-1), "units", "times"),
    _question("vocal_sound", _value("vocal_sound"), "vocal_sound", corruption="hallucinated sound"),
    _question("events", event_list, "events", "list"),
    _question("num_events", num_events, "event_times", "count"),
    _question("first_event", event_at(0), "event_times", corruption="swapped order"),
    _question("last_event", event_at(-1), "event_times", corruption="swapped order"),
    _question("event_times", event_times, "event_times", "times"),
    _question("scene", _value("scene"), "scene", corruption="another scene"),
    _question("caption", _value("caption"), "caption", corruption="another caption"),
    _question("instrument", _value("instrument"), "instrument", corruption="hallucinated sound"),
    _question("pitch", _value("pitch"), "pitch", corruption="another pitch"),
    _question("genre", _value("genre"), "genre", corruption="another genre"),
    _question("mood", _value("mood"), "mood", corruption="another mood"),
)

COMPARED: Sequence[Question] = (
    _question("speaker", _value("speaker"), "speaker"),
    _question("length", length, None),
)

TABLE = QuestionTable(
    questions=QUESTIONS,
    comparisons=tuple(
        Comparison(question=name, answers=answers, answer=rule, wordings=WORDINGS[f"compare_{name}"])
        for name, answers, rule in (
            ("speaker", ("yes", "no"), same),
            ("language", ("yes", "no"), same),
            ("gender", ("yes", "no"), same),
            ("emotion", ("yes", "no"), same),
            ("events", ("yes", "no"), same),
            ("scene", ("yes", "no"), same),
            ("instrument", ("yes", "no"), same),
            ("genre", ("yes", "no"), same),
            ("length", ("audio 1", "audio 2"), longer),
            ("num_words", ("audio 1", "audio 2"), longer),
        )
    ),
    things={
        "text": 'the words "{answer}"',
        "language": "{answer} speech",
        "gender": "the {answer} voice",
        "emotion": "the {answer} voice",
        "keyword": 'the word "{answer}"',
        "vocal_sound": "the {answer}",
        "scene": "the scene {answer}",
        "instrument": "the {answer}",
        "genre": "the {answer} music",
    },
    compared=COMPARED,
)
