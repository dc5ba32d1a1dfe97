"""Pieces become token ids, a loss mask and places for audio; integers only."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from audio_lm.common.errors import DataError
from audio_lm.prompts.conversation import Clip, Piece, Text
from audio_lm.prompts.vocabulary import CLOSED_LIST, Vocabulary


@dataclass(frozen=True, slots=True)
class Encoded:
    """One conversation in integers."""

    token_ids: list[int]
    is_learned: list[bool]  # of each token
    audio_index: list[int]  # positions that hold the placeholder of an audio token, in reading order


def encode(
    pieces: Sequence[Piece],
    vocabulary: Vocabulary,
    *,
    num_tokens_of_clip: Sequence[int],
    places: Sequence[tuple[str, int]] | None = None,
) -> Encoded:
    """Token ids of a conversation, its clips already as wide as their audio tokens.

    Neighbouring words are put together before they are cut into tokens, so that
    a text does not depend on how many pieces it came in. A token that the vocabulary
    does not have is words as well: a question such as "recognize the speech: <|en|>"
    is then cut as the tokenizer of Qwen2-Audio cuts it.

    Args:
        pieces: what is said.
        vocabulary: of the model.
        num_tokens_of_clip: audio tokens of clip 1, 2 ...
        places: words in the places of clip 1, each with its number of places; see ``place_ids``.

    Raises:
        DataError: a piece asks for a clip that is not there.
    """
    token_ids: list[int] = []
    is_learned: list[bool] = []
    audio_index: list[int] = []
    for piece in _joined(pieces, vocabulary):
        if isinstance(piece, Text):
            ids = vocabulary.ids(piece.text, is_markup=piece.is_markup)
        elif piece.number == 1 and places is not None:
            ids = place_ids(places, vocabulary)
        else:
            ids = [vocabulary.audio_id] * _num_tokens(piece, num_tokens_of_clip)
            audio_index += range(len(token_ids), len(token_ids) + len(ids))
        token_ids += ids
        is_learned += [isinstance(piece, Text) and piece.is_learned] * len(ids)
    return Encoded(token_ids, is_learned, audio_index)


class Parts(NamedTuple):
    """What the length of pieces follows from."""

    num_markup: int
    clips: list[Clip]
    words: list[str]
    """Stretches that the tokenizer cuts one by one."""


def parts_of(pieces: Sequence[Piece], vocabulary: Vocabulary) -> Parts:
    """What ``encode`` makes tokens of; only markup is counted here.

    Raises:
        RecipeError: markup that is no token.
    """
    num_markup, clips, words = 0, list[Clip](), list[str]()
    for piece in _joined(pieces, vocabulary):
        if isinstance(piece, Clip):
            clips.append(piece)
        else:
            for part in vocabulary.split(piece.text, is_markup=piece.is_markup):
                if isinstance(part, str):
                    words.append(part)
                else:
                    num_markup += 1
    return Parts(num_markup, clips, words)


def num_clip_tokens(
    clip: Clip, *, num_tokens_of_clip: Sequence[int], places: Sequence[tuple[str, int]] | None = None
) -> int:
    """Tokens that ``encode`` puts in the place of a clip, from the same arguments.

    Raises:
        DataError: the clip is not there.
    """
    if clip.number == 1 and places is not None:
        return sum(num_places for _, num_places in places if num_places > 0)
    return _num_tokens(clip, num_tokens_of_clip)


def place_ids(places: Sequence[tuple[str, int]], vocabulary: Vocabulary) -> list[int]:
    """Words where audio tokens would be, each repeated over its places.

    A word of several tokens gives each an equal share of its places, in order;
    with fewer places than tokens the last tokens have none. A gap (an empty
    text) holds the placeholder, whose embedding then stands for silence.

    Args:
        places: text and number of places; a text that is a token of the vocabulary is that token.
        vocabulary: of the model.
    """
    ids: list[int] = []
    for text, num_places in places:
        own = [vocabulary.id_of[text]] if text in vocabulary.id_of else vocabulary.ids(text, is_markup=False)
        own = own[:num_places] or [vocabulary.audio_id]
        ids += [own[place * len(own) // num_places] for place in range(num_places)]
    return ids


def _num_tokens(clip: Clip, num_tokens_of_clip: Sequence[int]) -> int:
    if not 1 <= clip.number <= len(num_tokens_of_clip):
        raise DataError(
            f"clip {clip.number} is asked for, but there are {len(num_tokens_of_clip)}; add the clip "
            f"(a cut's custom field audio_{clip.number}), or take its source out of this task"
        )
    return num_tokens_of_clip[clip.number - 1]


def _worded(piece: Piece, vocabulary: Vocabulary) -> Piece:
    if isinstance(piece, Text) and piece.text in CLOSED_LIST and piece.text not in vocabulary.id_of:
        return replace(piece, is_markup=False)
    return piece


def _joined(pieces: Iterable[Piece], vocabulary: Vocabulary) -> Iterator[Piece]:
    """Pieces, with neighbouring words of one kind as one."""
    words = list[Text]()  # neighbours of one kind
    for piece in (_worded(piece, vocabulary) for piece in pieces):
        if words and not _is_like(piece, words[0]):
            yield _together(words)
            words = []
        if isinstance(piece, Text) and not piece.is_markup:
            words.append(piece)
        else:
            yield piece
    if words:
        yield _together(words)


def _is_like(piece: Piece, words: Text) -> bool:
    return isinstance(piece, Text) and not piece.is_markup and piece.is_learned == words.is_learned


def _together(words: Sequence[Text]) -> Text:
    if len(words) == 1:
        return words[0]
    return Text("".join(piece.text for piece in words), is_learned=words[0].is_learned)
