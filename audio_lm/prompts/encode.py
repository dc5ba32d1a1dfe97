"""Pieces become token ids, a loss mask and places for audio; integers only."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from audio_lm.errors import DataError
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
    for piece in _joined([_worded(piece, vocabulary) for piece in pieces]):
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


def _joined(pieces: Sequence[Piece]) -> Iterator[Piece]:
    """Pieces, with neighbouring words of one kind as one."""
    for kind, run in groupby(pieces, key=_kind):
        if kind is None:
            yield from run
        else:
            texts = [piece.text for piece in run if isinstance(piece, Text)]
            yield Text("".join(texts), is_markup=False, is_learned=kind)


def _kind(piece: Piece) -> bool | None:
    """Whether words are learned; none for what stands by itself."""
    return piece.is_learned if isinstance(piece, Text) and not piece.is_markup else None
