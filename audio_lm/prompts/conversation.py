"""What is said, before it is token ids: stretches of text and places for clips.

Every language of prompts ends here, and ``encode`` begins here.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from audio_lm.tasks.task import Markup

CLIP_TOKEN = "<|AUDIO|>"
END_TOKEN = "<|endoftext|>"


@dataclass(frozen=True, slots=True)
class Text:
    """A stretch of text; only where it is markup are ``<|...|>`` in it tokens."""

    text: str
    is_markup: bool = False
    is_learned: bool = False


@dataclass(frozen=True, slots=True)
class Clip:
    """The place of a clip; the cut itself is number 1."""

    number: int


Piece = Text | Clip


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side says: strings, and the numbers of clips."""

    role: str
    content: tuple[str | int, ...]


def as_text(part: str, *, is_learned: bool = False) -> Text:
    """A string as a piece; ``Markup`` stays markup."""
    return Text(part, is_markup=isinstance(part, Markup), is_learned=is_learned)


def markup(token: str, *, is_learned: bool = False) -> Text:
    """A token, or a string of words and tokens that all are ours."""
    return Text(token, is_markup=True, is_learned=is_learned)


def written(pieces: Iterable[Piece], *, only_learned: bool = False) -> str:
    """Pieces as somebody would read them; a clip is one ``<|AUDIO|>``."""
    return "".join(
        piece.text if isinstance(piece, Text) else CLIP_TOKEN
        for piece in pieces
        if not only_learned or (isinstance(piece, Text) and piece.is_learned)
    )
