"""Tokenization of prompts: token ids, loss mask and audio positions; integers only."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from audio_lm.common.errors import DataError
from audio_lm.prompts.conversation import Clip, Piece, Text
from audio_lm.prompts.vocabulary import MARKUP_TOKENS, Vocabulary


@dataclass(frozen=True, slots=True)
class Encoding:
    """A tokenized conversation."""

    token_ids: list[int]
    is_learned: list[bool]  # loss mask, one entry per token
    audio_index: list[int]  # positions of the audio placeholder token, ascending


def encode(
    pieces: Sequence[Piece],
    vocabulary: Vocabulary,
    *,
    num_tokens_of_clip: Sequence[int],
    places: Sequence[tuple[str, int]] | None = None,
) -> Encoding:
    """Tokenize a conversation, each clip widened to its number of audio tokens.

    Adjacent text is joined before tokenization, so the token ids do not depend on
    how a text is split into pieces. A special token that the vocabulary lacks is
    plain text too: a question such as "recognize the speech: <|en|>" then has the
    tokens that the tokenizer of Qwen2-Audio gives it.

    Args:
        pieces: a rendered prompt.
        vocabulary: of the model.
        num_tokens_of_clip: numbers of audio tokens, from clip 1 on.
        places: texts that replace the audio tokens of clip 1, each with its number of positions; see ``place_ids``.

    Raises:
        DataError: a piece refers to a clip that the cut lacks.
    """
    token_ids: list[int] = []
    is_learned: list[bool] = []
    audio_index: list[int] = []
    for piece in _join_texts(pieces, vocabulary):
        if isinstance(piece, Text):
            ids = vocabulary.ids(piece.text, is_markup=piece.is_markup)
        elif piece.number == 1 and places is not None:
            ids = place_ids(places, vocabulary)
        else:
            ids = [vocabulary.audio_id] * _num_tokens(piece, num_tokens_of_clip)
            audio_index += range(len(token_ids), len(token_ids) + len(ids))
        token_ids += ids
        is_learned += [isinstance(piece, Text) and piece.is_learned] * len(ids)
    return Encoding(token_ids, is_learned, audio_index)


class LengthInputs(NamedTuple):
    """Inputs to the number of tokens of a prompt."""

    num_markup: int
    clips: list[Clip]
    words: list[str]
    """Texts that are tokenized one by one."""


def length_inputs(pieces: Sequence[Piece], vocabulary: Vocabulary) -> LengthInputs:
    """Split a prompt as ``encode`` does, without tokenizing its texts.

    Raises:
        RecipeError: markup that is no token.
    """
    num_markup, clips, words = 0, list[Clip](), list[str]()
    for piece in _join_texts(pieces, vocabulary):
        if isinstance(piece, Clip):
            clips.append(piece)
        else:
            for part in vocabulary.split(piece.text, is_markup=piece.is_markup):
                if isinstance(part, str):
                    words.append(part)
                else:
                    num_markup += 1
    return LengthInputs(num_markup, clips, words)


def num_clip_tokens(
    clip: Clip, *, num_tokens_of_clip: Sequence[int], places: Sequence[tuple[str, int]] | None = None
) -> int:
    """Number of tokens that ``encode`` gives a clip, from the same arguments.

    Raises:
        DataError: the cut lacks the clip.
    """
    if clip.number == 1 and places is not None:
        return sum(num_places for _, num_places in places if num_places > 0)
    return _num_tokens(clip, num_tokens_of_clip)


def place_ids(places: Sequence[tuple[str, int]], vocabulary: Vocabulary) -> list[int]:
    """Token ids of texts that replace audio tokens, each text repeated over its positions.

    The tokens of a text share its positions equally, in order; with fewer
    positions than tokens, the last tokens are dropped. A gap (an empty text)
    gets the placeholder token, whose embedding then represents silence.

    Args:
        places: text and number of positions; a text that is a special token of the vocabulary becomes that token.
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
            f"the prompt needs clip {clip.number}, but the cut has {len(num_tokens_of_clip)} clips; add the clip "
            f"(a cut's custom field audio_{clip.number}), or remove its source from this task"
        )
    return num_tokens_of_clip[clip.number - 1]


def _without_unknown_token(piece: Piece, vocabulary: Vocabulary) -> Piece:
    if isinstance(piece, Text) and piece.text in MARKUP_TOKENS and piece.text not in vocabulary.id_of:
        return replace(piece, is_markup=False)
    return piece


def _join_texts(pieces: Iterable[Piece], vocabulary: Vocabulary) -> Iterator[Piece]:
    """Join adjacent texts with equal loss mask."""
    words = list[Text]()  # adjacent, with equal loss mask
    for piece in (_without_unknown_token(piece, vocabulary) for piece in pieces):
        if words and not _can_join(piece, words[0]):
            yield _concatenate(words)
            words = []
        if isinstance(piece, Text) and not piece.is_markup:
            words.append(piece)
        else:
            yield piece
    if words:
        yield _concatenate(words)


def _can_join(piece: Piece, words: Text) -> bool:
    return isinstance(piece, Text) and not piece.is_markup and piece.is_learned == words.is_learned


def _concatenate(words: Sequence[Text]) -> Text:
    if len(words) == 1:
        return words[0]
    return Text("".join(piece.text for piece in words), is_learned=words[0].is_learned)
