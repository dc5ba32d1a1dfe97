"""Labels of a clip, from the supervisions of its cut.

Times in our labels count from the start of the clip. Word times in Lhotse's ``alignment`` count from the start of the
recording, and are converted here. With several supervisions, a label is used if only one has it or all
have the same value; turns are joined from the speakers and times of the supervisions.

Source: lhotse 1.33, ``supervision.py`` (``AlignmentItem``, ``with_offset``); lhotse-speech/lhotse#1193.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lhotse import SupervisionSegment
from lhotse.cut import Cut
from lhotse.supervision import AlignmentItem

from audio_lm.common.audio_units import Seconds
from audio_lm.common.languages import UNKNOWN_LANGUAGE, with_language_codes
from audio_lm.data.manifest.json_lines import InvalidLineError, short_repr
from audio_lm.tasks.labels import FIELDS, LABELS, RECORDING_START, Kind

IN_SEQUENCE = frozenset({"text", "translation", "units"})
"""Labels of consecutive segments: two equal values are two parts of a whole, not the same label twice."""

MAX_NUMBER = 10**15  # in a label
MAX_PLACES = 10_000  # of a text-only cut
_NUMERIC = (float, int)  # compared by type, so that bool is excluded
STAMP_TOLERANCE: Seconds = 0.1  # by which words may be outside the clip
CURE = "cut it up with lhotse's trim_to_supervisions(keep_overlapping=False)"


class ClipLabels(dict[str, Any]):
    """Labels by name; ``unclear`` maps ambiguous or invalid labels to the reason."""

    def __init__(self) -> None:
        super().__init__(language=UNKNOWN_LANGUAGE)
        self.unclear: dict[str, str] = {}


def labels_of(cut: Cut) -> ClipLabels:
    """Labels of a clip, under the names that tasks use."""
    labels = ClipLabels()
    if len(cut.supervisions) == 1:
        labels.update(_labels_of_supervision(cut.supervisions[0], cut, labels.unclear))
    elif cut.supervisions:
        _join(labels, cut)
    return labels


def _labels_of_supervision(
    supervision: SupervisionSegment, cut: Cut, unclear: dict[str, str]
) -> dict[str, Any]:
    labels = dict(supervision.custom or {})
    labels.pop(RECORDING_START, None)
    for key in FIELDS:
        if (value := getattr(supervision, key)) is not None:
            labels[key] = value
    if supervision.alignment and supervision.alignment.get("word") is not None:
        labels["units"] = units_of(cut, supervision)
        if reason := _why_outside(labels["units"], cut.duration):
            unclear["units"] = reason
            del labels["units"]
    return with_language_codes(labels)


def units_of(cut: Cut, supervision: SupervisionSegment) -> list[tuple[str, Seconds, Seconds]]:
    """Words of a supervision with start and end in seconds from the start of the clip."""
    words: Sequence[AlignmentItem] = (supervision.alignment or {}).get("word") or ()
    offset = _clip_start(cut, supervision)
    if not offset:
        return [(word.symbol, word.start, word.end) for word in words]
    starts = [round(word.start - offset, 4) for word in words]  # the resolution of our corpora
    return [
        (word.symbol, start, round(start + word.duration, 8))
        for word, start in zip(words, starts, strict=True)
    ]


def _clip_start(cut: Cut, supervision: SupervisionSegment) -> Seconds:
    """Start of the clip in the recording to which its word times refer."""
    if cut.has_recording and supervision.recording_id == cut.id != cut.recording.id:
        return 0.0  # in earlier releases, word times of our corpora referred to the clip
    if cut.start:
        return float(cut.start)
    known = (supervision.custom or {}).get(RECORDING_START)
    return float(known - supervision.start) if _is_number(known) else 0.0


def _why_outside(units: Sequence[tuple[str, Seconds, Seconds]], duration: Seconds) -> str:
    for word, start, end in units:
        if word.strip() and not -STAMP_TOLERANCE <= start <= end <= duration + STAMP_TOLERANCE:
            return (
                f"word {short_repr(word)} of its alignment lasts from {start:.2f} to {end:.2f} s of a clip of "
                f"{duration:.2f} s -- expected times of its recording, as lhotse counts them; correct the alignment"
            )
    return ""


def _join(labels: ClipLabels, cut: Cut) -> None:
    """Join the labels of a cut with several supervisions."""
    several = [_labels_of_supervision(supervision, cut, labels.unclear) for supervision in cut.supervisions]
    for key in dict.fromkeys(key for found in several for key in found):
        values = [found[key] for found in several if found.get(key) is not None]
        if len(values) == 1 or (
            values and key not in IN_SEQUENCE and all(value == values[0] for value in values)
        ):
            labels[key] = values[0]
        elif values:
            labels.unclear[key] = (
                f"{len(values)} of its {len(several)} supervisions have a {key}, not the same; {CURE}"
            )
            labels.pop(key, None)
    _join_turns(labels, cut)


def _join_turns(labels: ClipLabels, cut: Cut) -> None:
    """Join ``turns`` and ``texts`` from the supervisions, if no label gives them."""
    wanted = {"turns", "texts"} - labels.keys() - labels.unclear.keys()
    if any(supervision.speaker is None for supervision in cut.supervisions):
        reason = f"not all of its {len(cut.supervisions)} supervisions have a speaker; name the speakers"
        labels.unclear |= dict.fromkeys(wanted, reason)
        return
    turns, texts_of = list[list[Any]](), dict[str, list[str]]()
    for supervision in sorted(cut.supervisions, key=lambda supervision: supervision.start):
        start, end = max(0.0, supervision.start), min(cut.duration, supervision.end)
        if start < end:
            turns.append([supervision.speaker, start, end])
        if supervision.text:
            texts_of.setdefault(supervision.speaker, []).append(supervision.text)
    joined = {"turns": turns, "texts": [" ".join(texts) for texts in texts_of.values()]}
    labels.update({key: value for key, value in joined.items() if key in wanted and value})


def places_of(labels: Mapping[str, Any]) -> list[tuple[str, int]] | None:
    """(text, number of audio tokens) pairs of a text-only cut, in which text stands in for the audio of a clip."""
    places = labels.get("places")
    return None if places is None else [(str(text), int(count)) for text, count in places]


def check_labels(supervision: Mapping[str, Any]) -> None:
    """Refuse labels of a wrong type in the JSON of a supervision.

    Raises:
        InvalidLineError: names the label.
    """
    for key in FIELDS:
        if type(value := supervision.get(key)) is not str and value is not None:
            raise InvalidLineError(f"its {key} is {short_repr(value)} -- expected a text")
    if custom := supervision.get("custom"):
        for key, value in custom.items():
            if key in LABELS and value is not None:
                _CHECKS[LABELS[key].kind](key, value)
    if (alignment := supervision.get("alignment")) and (words := alignment.get("word")) is not None:
        _check_words(words)


def _check_text(key: str, value: Any) -> None:
    if type(value) is not str:
        raise InvalidLineError(f"label {key!r} is {short_repr(value)} -- expected a text")


def _check_value(key: str, value: Any) -> None:
    if not (type(value) is str or _is_number(value)):
        raise InvalidLineError(f"label {key!r} is {short_repr(value)} -- expected a text")


def _check_list(key: str, value: Any) -> None:
    if type(value) is not list or any(type(text) is not str for text in value):
        raise InvalidLineError(f"label {key!r} is {short_repr(value)} -- expected a list of texts")


def _check_references(key: str, value: Any) -> None:
    (_check_list if type(value) is list else _check_value)(key, value)


def _check_integer(key: str, value: Any) -> None:
    is_text = type(value) is str and len(value) < len(str(MAX_NUMBER)) and value.isascii() and value.isdigit()
    if not (is_text or (type(value) is int and _is_number(value))):
        raise InvalidLineError(f"label {key!r} is {short_repr(value)} -- expected an integer")


def _is_number(value: Any) -> bool:
    return type(value) in _NUMERIC and -MAX_NUMBER <= value <= MAX_NUMBER  # NaN is in no range


def _is_a(value: Any, kind: type) -> bool:
    return _is_number(value) if kind is float else type(value) is kind


def _check_rows(key: str, value: Any) -> None:
    kinds = LABELS[key].row
    for row in value if type(value) is list else [value]:
        if type(row) is not list or len(row) != len(kinds) or not all(map(_is_a, row, kinds)):
            wanted = ", ".join({str: "text", float: "number", int: "integer"}[kind] for kind in kinds)
            raise InvalidLineError(f"label {key!r} has the row {short_repr(row)} -- expected [{wanted}]")
    if key == "places":
        counts = [count for _, count in value]
        if min(counts, default=0) < 0 or sum(counts) > MAX_PLACES:
            raise InvalidLineError(
                f"label 'places' has {short_repr(sum(counts))} places -- expected at most {MAX_PLACES}"
            )


def _check_conversation(key: str, value: Any) -> None:
    turns = value if type(value) is list else [value]
    for turn in turns:
        content = turn.get("content") if type(turn) is dict else None
        if type(content) is not list or type(turn.get("role")) is not str or not all(map(_is_part, content)):
            raise InvalidLineError(
                f"label {key!r} has the turn {short_repr(turn)} -- expected a role and a content, "
                f"a list of texts and of numbers of clips"
            )
        if type(turn.get("learn", True)) is not bool:
            raise InvalidLineError(
                f"label {key!r} has a turn with learn {short_repr(turn['learn'])} -- expected true or false"
            )


def _is_part(part: Any) -> bool:
    if type(part) is not dict:
        return False
    return type(part["audio"]) is int if "audio" in part else type(part.get("text")) is str


def _accept(key: str, value: Any) -> None:
    """Accept any value."""


_CHECKS: dict[Kind, Callable[[str, Any], None]] = {
    "text": _check_text,
    "value": _check_value,
    "references": _check_references,
    "texts": _check_list,
    "integer": _check_integer,
    "rows": _check_rows,
    "turns": _check_conversation,
    "words": _accept,  # in custom; those of the alignment are checked
    "facts": _accept,
}


def _check_words(words: Any) -> None:
    if type(words) is not list:
        words = [words]
    for word in words:
        item = list(word.values()) if type(word) is dict else word
        if type(item) is not list or not 3 <= len(item) <= 4 or type(item[0]) is not str:
            break
        start, duration = item[1], item[2]
        if type(start) not in _NUMERIC or type(duration) not in _NUMERIC:
            break
        if not (-MAX_NUMBER <= start <= MAX_NUMBER and 0 <= duration <= MAX_NUMBER):  # NaN is in no range
            break
    else:
        return
    raise InvalidLineError(
        f"its alignment has the word {short_repr(word)} -- expected [word, start, duration]"
    )
