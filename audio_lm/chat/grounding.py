"""Words found in a clip: a model writes its words with time stamps, and the spans of the wanted words are taken from them.

The stamps increase, because others are forbidden while the answer is generated.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from audio_lm.common.audio_units import Seconds
from audio_lm.common.errors import UserError
from audio_lm.common.word_timestamps import SILENCE, Unit, parse_units
from audio_lm.run.ask import AnsweringModel, ClipOptions

STAMP_TASKS = ("srwt-en", "srwt-zh")
MAX_NEW_TOKENS = 512


@dataclass(frozen=True)
class Span:
    """An occurrence of the wanted words."""

    words: str
    """Spelling of the model."""

    start: Seconds
    end: Seconds


@dataclass(frozen=True)
class Grounding:
    """Words of a clip, and the occurrences of some of them."""

    audio: str
    wanted: str
    units: tuple[Unit, ...]
    """All words and silences of the clip."""

    spans: tuple[Span, ...]
    """Occurrences in the order of time; they do not overlap."""

    @property
    def transcript(self) -> str:
        """Words without times."""
        return " ".join(unit.symbol for unit in self.units if unit.symbol != SILENCE)

    def as_record(self) -> dict[str, Any]:
        """Content as JSON."""
        return {
            "audio": self.audio,
            "wanted": self.wanted,
            "transcript": self.transcript,
            "spans": [asdict(span) for span in self.spans],
            "units": [unit._asdict() for unit in self.units],
        }


def ground(
    model: AnsweringModel,
    audio: str | Path,
    wanted: str,
    *,
    task: str | None = None,
    options: ClipOptions | None = None,
) -> Grounding:
    """Find words in a clip.

    Args:
        wanted: a word or several in a row; upper case and punctuation do not matter.
        task: ``srwt-en`` or ``srwt-zh``; by default the one that the model was trained with.
        options: reading of the file.

    Raises:
        UserError: the model writes no time stamps, there are no words to find, or the file is unusable.
    """
    if not words_in(wanted):
        raise UserError(
            f"{wanted!r} has no words to find -- expected a word or several; write them in quotes"
        )
    settings = options or ClipOptions(max_new_tokens=MAX_NEW_TOKENS)
    chosen = task or stamp_task(model)
    ordered = ClipOptions(settings.long_audio, settings.channel, settings.max_new_tokens, ordered_stamps=True)
    (answer,) = model.ask([audio], task=chosen, prompt="tags", options=ordered)
    units = parse_units(answer.text)
    return Grounding(str(audio), wanted, tuple(units), tuple(find_words(units, wanted)))


def stamp_task(model: AnsweringModel) -> str:
    """Task with word time stamps that a model was trained with.

    Raises:
        UserError: it was trained without.
    """
    loaded = model.loaded
    known = [name for name in STAMP_TASKS if name in loaded.tasks or not loaded.tasks]
    if not known:
        raise UserError(
            f"{loaded.source} was trained with {', '.join(loaded.tasks)} -- expected {' or '.join(STAMP_TASKS)}, which has "
            f"word time stamps; choose another stage or model"
        )
    return known[0]


def find_words(units: Sequence[Unit], wanted: str) -> Iterator[Span]:
    """Occurrences of some words among timed units, from left to right and without overlap.

    Silences between words are skipped. A unit of several words has one span for all of them.
    """
    target = words_in(wanted)
    timed = [(word, unit) for unit in units if unit.symbol != SILENCE for word in words_in(unit.symbol)]
    place = 0
    while target and place + len(target) <= len(timed):
        found = timed[place : place + len(target)]
        if [word for word, _ in found] == target:
            several = dict.fromkeys(unit for _, unit in found)
            yield Span(" ".join(unit.symbol for unit in several), found[0][1].start, found[-1][1].end)
            place += len(target)
        else:
            place += 1


def words_in(text: str) -> list[str]:
    """Words in lower case without punctuation; every Chinese character is a word.

    >>> words_in('"She sells", 你好!')
    ['she', 'sells', '你', '好']
    """
    words: list[str] = []
    current = ""
    for letter in f"{text.casefold()} ":
        is_chinese = "\u3400" <= letter <= "\u9fff"
        if (letter.isalnum() or (letter in "'\u2019-" and current)) and not is_chinese:
            current += letter
            continue
        words += [current.rstrip("'\u2019-")] if current else []
        words += [letter] if is_chinese else []
        current = ""
    return words
