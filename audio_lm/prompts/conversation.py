"""A prompt before tokenization: pieces of text and clips.

Every prompt format renders to pieces, and ``encode`` tokenizes them.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from audio_lm.tasks.task import Markup

CLIP_TOKEN = "<|AUDIO|>"
END_TOKEN = "<|endoftext|>"


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text; its ``<|...|>`` are special tokens only if it is markup."""

    text: str
    is_markup: bool = False
    is_learned: bool = False


@dataclass(frozen=True, slots=True)
class Clip:
    """Position of a clip in the prompt; number 1 is the audio of the cut."""

    number: int


Piece = Text | Clip


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a conversation: texts and clip numbers."""

    role: str
    content: tuple[str | int, ...]
    is_learned: bool = True
    """Of an assistant's turn: the loss covers it."""


def as_text(part: str, *, is_learned: bool = False) -> Text:
    """Wrap a string as a piece; ``Markup`` stays markup."""
    return Text(part, is_markup=isinstance(part, Markup), is_learned=is_learned)


def markup(token: str, *, is_learned: bool = False) -> Text:
    """Wrap a special token, or a string from a template, as a piece of markup."""
    return Text(token, is_markup=True, is_learned=is_learned)


def join_text(pieces: Iterable[Piece], *, only_learned: bool = False) -> str:
    """Text of pieces; each clip is one ``<|AUDIO|>``."""
    return "".join(
        piece.text if isinstance(piece, Text) else CLIP_TOKEN
        for piece in pieces
        if not only_learned or (isinstance(piece, Text) and piece.is_learned)
    )
