"""Text <-> token ids, with the special tokens that prompts need and text tokenizers lack.

The ids of the language model's embedding table do not change. New tokens get ids
after the table; the part ``new_tokens`` learns their embeddings. Only ``tags`` needs
more than the tokens of text and chat: with other prompt formats a model gets no rows for tags.

Source: the released tokenizers of Qwen-Audio (order of the audio tokens) and
Qwen2-Audio (the six tokens of text and chat).
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Sequence
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

from audio_lm.common.errors import CheckpointError, RecipeError
from audio_lm.common.languages import NAME_OF_LANGUAGE, UNKNOWN_LANGUAGE
from audio_lm.common.markup import MARKUP
from audio_lm.common.word_timestamps import MAX_STAMP, SILENCE, STAMPS_PER_SECOND, stamp
from audio_lm.prompts.conversation import CLIP_TOKEN, END_TOKEN
from audio_lm.tasks.registry import TASKS
from audio_lm.tasks.targets import NUM_MIDI

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from audio_lm.prompts.tokenizer_json import JsonTokenizer


def _tags(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"<|{name}|>" for name in names)


STAMPS = tuple(stamp(hundredths / STAMPS_PER_SECOND) for hundredths in range(MAX_STAMP + 1))

AUDIO_TOKENS = (
    *_tags(("startoftranscript", "startofanalysis", "translate", "transcribe", "caption", "keyword")),
    *_tags((UNKNOWN_LANGUAGE, *NAME_OF_LANGUAGE, "zh_tr", "notimestamps")),
    SILENCE,
    "<|timestamps|>",
    *STAMPS,
    *_tags(("caption_audiocaps", "caption_clotho", "audioset_ontology", "caption_plain", "itn", "wo_itn")),
    *_tags(("startofentityvalue", "endofentityvalue", "startofentitytype", "endofentitytype")),
    *_tags(("named_entity_recognition", "audio_grounding", "startofword", "endofword", "delim")),
    *_tags(("emotion_recognition", "music_description", "note_analysis", "pitch")),
    *_tags(f"midi_pitch_{number}" for number in range(NUM_MIDI)),
    "<|velocity|>",
    *_tags(f"midi_velocity_{number}" for number in range(NUM_MIDI)),
    *_tags(("sonic", "instrument", "speaker_meta", "song_meta", "question", "answer", "choice", "scene")),
    *_tags(("event", "vocal_classification", "speech_understanding", "scenario", "action", "entities")),
    "<|speech_edit|>",
    "<audio>",
    "</audio>",
)
"""The released audio tokens, in the order of their ids."""

TEXT_TOKENS = (END_TOKEN, "<|im_start|>", "<|im_end|>", CLIP_TOKEN, "<|audio_bos|>", "<|audio_eos|>")
"""Tokens of text and chat, which the Qwen tokenizers have."""

EXTENSION_TOKENS = tuple(
    dict.fromkeys(token for task in TASKS.built_in.values() for token in task.extension_tokens)
)
"""Tokens for tasks of the paper that the released vocabulary lacks; last, so that more can be added.

Tasks of other packages add none: what is installed must not change the ids of a model.
"""

MARKUP_TOKENS = dict.fromkeys((*AUDIO_TOKENS, *TEXT_TOKENS, *EXTENSION_TOKENS))
"""All tokens that markup may contain; a dict, for its order and fast look-up."""


def tokens_for(prompts: Iterable[str]) -> tuple[str, ...]:
    """Special tokens that a model needs for these prompt formats."""
    return tuple(MARKUP_TOKENS) if "tags" in prompts else TEXT_TOKENS


class Vocabulary:
    """Token ids of text and of markup.

    Special tokens inside text are not parsed; markup is never split into sub-words.
    """

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase | JsonTokenizer",
        *,
        num_base: int,
        tokens: Iterable[str] = MARKUP_TOKENS,
    ) -> None:
        """Assign ids to the tokens that ``tokenizer`` lacks.

        Args:
            tokenizer: of the language model.
            num_base: rows of the language model's embedding table; often more than the tokenizer has tokens.
            tokens: required special tokens, in the order of their ids; see ``tokens_for``.

        Raises:
            CheckpointError: the tokenizer has ids beyond the table.
        """
        if len(tokenizer) > num_base:
            raise CheckpointError(
                f"the tokenizer has {len(tokenizer)} tokens, but the language model's table only {num_base} "
                f"rows; load both from the same folder"
            )
        own = tokenizer.get_vocab()
        self.tokenizer = tokenizer
        self.num_base = num_base
        self.tokens = tuple(dict.fromkeys((*tokens, *TEXT_TOKENS)))
        self.new_tokens = tuple(token for token in self.tokens if token not in own)
        new = {token: num_base + index for index, token in enumerate(self.new_tokens)}
        known = {token: own[token] for token in MARKUP_TOKENS if token in own} | new
        self.id_of = {
            token: known[token] for token in dict.fromkeys((*MARKUP_TOKENS, *new)) if token in known
        }
        self.audio_id = self.id_of[CLIP_TOKEN]
        self.end_id = self.id_of[END_TOKEN]
        self.turn_end_id = self.id_of["<|im_end|>"]
        own_pad = tokenizer.pad_token_id
        self.pad_id = own_pad if isinstance(own_pad, int) else self.end_id
        self._token_of_id = {index: token for token, index in self.id_of.items()}
        # Special tokens that the tokenizer itself would parse inside text.
        self._parsed_by_tokenizer = _any_of(tokenizer.added_tokens_encoder)

    @property
    def digest(self) -> str:
        """Equal for vocabularies that give equal ids to every text."""
        inner = getattr(self.tokenizer, "backend_tokenizer", None)
        own = inner.to_str() if inner is not None else json.dumps(self.tokenizer.get_vocab(), sort_keys=True)
        return hashlib.sha256(f"{self.num_base} {self.new_tokens} {own}".encode()).hexdigest()

    def __len__(self) -> int:
        return self.num_base + len(self.new_tokens)

    def ids(self, text: str, *, is_markup: bool) -> list[int]:
        """Token ids of a text.

        Args:
            text: any.
            is_markup: parse ``<|...|>`` as special tokens; false for text from labels and users.

        Raises:
            RecipeError: markup that is no token.
        """
        ids: list[int] = []
        for part in self.split(text, is_markup=is_markup):
            ids += [part] if isinstance(part, int) else self._encode(part)
        return ids

    def split(self, text: str, *, is_markup: bool) -> list[int | str]:
        """Split a text into the ids of its special tokens and the texts between, which are tokenized one by one.

        Args:
            text: any.
            is_markup: as in ``ids``.

        Raises:
            RecipeError: markup that is no token.
        """
        if not is_markup:
            return [*self._break_special_tokens(text)]
        if text in self.id_of:
            return [self.id_of[text]]
        parts: list[int | str] = []
        for part in filter(None, MARKUP.split(text)):
            if MARKUP.fullmatch(part):
                self.check(part)
                parts.append(self.id_of[part])
            else:
                parts += self._break_special_tokens(part)
        return parts

    def text(self, ids: Sequence[int]) -> str:
        """Decode ids, special tokens included."""
        parts: list[str] = []
        for is_markup, run in groupby(ids, key=self._token_of_id.__contains__):
            if is_markup:
                parts += [self._token_of_id[index] for index in run]
            else:
                parts.append(self._decode(list(run)))
        return "".join(parts)

    def check(self, *tags: str) -> None:
        """Check that each tag is one token.

        Raises:
            RecipeError: a tag is none; it would be split into sub-words and train without an error.
        """
        absent = [tag for tag in dict.fromkeys(tags) if tag not in self.id_of]
        if absent:
            raise RecipeError(
                f"{absent} would be split into sub-words -- expected tokens of this vocabulary; correct them, "
                f"list new ones in the extension_tokens of their task, or set prompt: natural"
            )

    def _encode(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _break_special_tokens(self, text: str) -> list[str]:
        """Split text after the first character of each special token, so that the tokenizer does not parse it."""
        if self._parsed_by_tokenizer is None or self._parsed_by_tokenizer.search(text) is None:
            return [text]
        cuts = [0, *(match.start() + 1 for match in self._parsed_by_tokenizer.finditer(text)), len(text)]
        return [text[start:end] for start, end in pairwise(cuts)]

    def _decode(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def _any_of(tokens: Collection[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(map(re.escape, tokens))) if tokens else None
