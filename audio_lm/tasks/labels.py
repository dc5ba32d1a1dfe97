"""The table of labels: the kind of value of each, and a valid value for previews and tests.

Tasks, manifests and imports read it. A label that is not in the table is one of the user's own: a text, a number, true or
false. Times are seconds from the start of the clip.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["text", "value", "references", "texts", "integer", "rows", "words", "turns", "facts"]
"""Kind of a label's value:

text: a text. value: a text or a number. references: one, or a list of texts. texts: a list of texts. integer: 0 or more.
rows: a list of rows with the types of ``Label.row``. words: words with start and end, from the alignment of a supervision.
turns: a conversation, or its rejected answer. facts: a table that no task reads.
"""


@dataclass(frozen=True)
class Label:
    """A label of clips."""

    kind: Kind
    """Kind of its value."""

    dummy: Any = None
    """A valid value; None if no task of the table needs the label."""

    row: tuple[type, ...] = ()
    """Types of a row, if the value is a list of rows."""

    is_of_moments: bool = False
    """True if it may hold for a clip but not for each chunk of it."""

    is_column: bool = True
    """True if a column of an imported table may be this label."""


CONVERSATION: list[dict[str, Any]] = [
    {"role": "user", "content": [{"audio": 1}, {"text": "Who is speaking?"}]},
    {"role": "assistant", "content": [{"text": "Ada, who says that she met Bob in Paris."}]},
]


def _of_moments(kind: Kind, dummy: Any, *row: type, is_column: bool = True) -> Label:
    return Label(kind, dummy, row, is_of_moments=True, is_column=is_column)


LABELS: dict[str, Label] = {
    "description": _of_moments("text", None),
    "language": Label("text", "en"),
    "text": _of_moments("text", "Ada met Bob in Paris"),
    "speaker": Label("text"),
    "units": _of_moments("words", [["she", 0.5, 0.67], ["sells", 0.67, 1.01]], is_column=False),
    "texts": _of_moments("texts", ["good morning", "hello there"]),
    "translation": _of_moments("references", "guten Morgen"),
    "target_language": Label("value", "de"),
    "dialect": Label("value", "scottish"),
    "gender": Label("text", "female"),
    "age": Label("value", "twenties"),
    "emotion": Label("value", "happy"),
    "mood": Label("value", "calm"),
    "same_speaker": Label("value", "yes"),
    "turns": _of_moments("rows", [["b", 1.0, 2.5], ["a", 0.0, 1.2], ["b", 3.0, 3.5]], str, float, float),
    "entities": _of_moments("rows", [["Ada", "person"], ["Paris", "place"]], str, str),
    "keyword": _of_moments("value", "seven"),
    "scenario": Label("value", "music"),
    "action": Label("value", "play"),
    "slots": _of_moments("rows", [["room", "kitchen"], ["time", "noon"]], str, str),
    "vocal_sound": Label("value", "cough"),
    "caption": _of_moments("references", "a siren sweeps"),
    "events": _of_moments("texts", ["siren sweep", "beep"]),
    "event_times": _of_moments(
        "rows", [["beep", 0.0, 0.5], ["siren sweep", 0.2, 1.0], ["beep", 2.0, 2.5]], str, float, float
    ),
    "scene": Label("value", "harbour"),
    "question": _of_moments("value", "Is there a beep?"),
    "answer": _of_moments("references", "yes"),
    "singer": Label("value", "nobody"),
    "genre": Label("value", "waltz"),
    "title": Label("value", "Ode to Joy"),
    "instrument": Label("value", "flute"),
    "pitch": Label("integer", 60),
    "velocity": Label("integer", 90),
    "qualities": Label("texts", ["bright", "fast_decay"]),
    "conversation": _of_moments("turns", CONVERSATION, is_column=False),
    "rejected": Label("facts", is_column=False),
    "places": Label("rows", row=(str, int), is_column=False),
    "honesty": Label("facts", is_column=False),
}
"""Name -> label."""

FIELDS = ("text", "language", "speaker", "gender")
"""Labels in a field of Lhotse's supervision; all others are in its ``custom``."""

RECORDING_START = "recording_start"
"""Custom field of a supervision that is no label: its start in seconds, in the recording to which its word times refer.
Lhotse's Shar and ``move_to_memory`` make a new recording of the clip and do not change the word times."""

RESERVED = frozenset(
    {"id", "recording_id", "start", "duration", "channel", "alignment", "custom", RECORDING_START}
    | {name for name, label in LABELS.items() if not label.is_column}
)
"""Names that no label of the user's own can have: fields of a supervision, and labels that are written here only."""

CLIP_FIELD = re.compile(r"(rejected_)?audio(_[0-9]+)?")
OWN_NAME = re.compile(r"\w(?:[\w -]{0,62}\w)?")
RULE = "letters, digits, _, - and spaces inside, 64 at most"


def names_of_kind(*kinds: Kind) -> frozenset[str]:
    """Names of the labels of some kinds."""
    return frozenset(name for name, label in LABELS.items() if label.kind in kinds)


def is_own_name(name: str) -> bool:
    """True if a label of the user's own may have this name.

    >>> is_own_name("room size"), is_own_name("audio_2"), is_own_name("a.b"), is_own_name("emotion")
    (True, False, False, False)
    """
    is_free = name not in LABELS and name not in RESERVED and CLIP_FIELD.fullmatch(name) is None
    return is_free and OWN_NAME.fullmatch(name) is not None


def dummy_values(names: Collection[str]) -> dict[str, Any]:
    """Valid values of some labels; one without a value in the table has its name as value.

    >>> dummy_values(["emotion", "room"])
    {'emotion': 'happy', 'room': 'room'}
    """
    known = {name: LABELS[name].dummy for name in names if name in LABELS}
    return {name: name if known.get(name) is None else known[name] for name in names}
