"""Token counts of many texts.

A tokenizer with Qwen's pre-tokenizer splits a text into words first, so the number of tokens of a word does not depend
on its context. ASCII texts are split here by the same pattern, and only words not seen before are tokenized. Non-ASCII
texts, and all texts of other tokenizers, are tokenized whole, in batches.
"""

import json
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tokenizers import models

from audio_lm.prompts.tokenizer_json import WORD_PATTERN, JsonTokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ASCII_WORD = re.compile(
    WORD_PATTERN.replace(r"\p{L}\p{N}]", "a-zA-Z0-9]")
    .replace(r"\p{L}", "[a-zA-Z]")
    .replace(r"\p{N}", "[0-9]"),
    re.ASCII,
)
"""Equivalent of ``WORD_PATTERN`` on ASCII text, for Python's ``re``."""

MAX_KNOWN = 100_000  # cached words; the cache is cleared above it
MAX_LETTERS = 64  # longer words are not cached


class TokenCounter:
    """Token counter for texts without markup; caches the counts of words."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase | JsonTokenizer") -> None:
        self.tokenizer = tokenizer
        self.has_words = _splits_by_pattern(tokenizer)
        self._num_tokens_of: dict[str, int] = {}

    def count(self, texts: Iterable[str]) -> list[int]:
        """Number of tokens of each text."""
        known = self._num_tokens_of
        words_of_text = [self._words(text) for text in texts]
        unknown = list({word for words in words_of_text for word in words if word not in known})
        known.update(zip(unknown, self._count_batch(unknown), strict=True))
        counts = [sum(map(known.__getitem__, words)) for words in words_of_text]
        for word in unknown:
            if len(word) > MAX_LETTERS:
                del known[word]
        if len(known) > MAX_KNOWN:
            known.clear()
        return counts

    def _words(self, text: str) -> list[str]:
        return ASCII_WORD.findall(text) if self.has_words and text.isascii() else [text]

    def _count_batch(self, words: Sequence[str]) -> list[int]:
        if not words:
            return []  # the tokenizer fails on an empty batch
        batch = self.tokenizer(
            words, add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False
        )
        return [len(ids) for ids in batch["input_ids"]]


def _splits_by_pattern(tokenizer: "PreTrainedTokenizerBase | JsonTokenizer") -> bool:
    """True if the tokenizer splits ASCII text by ``WORD_PATTERN`` only."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or not isinstance(backend.model, models.BPE) or backend.model.dropout:
        return False
    if _settings(backend.normalizer) not in (None, {"type": "NFC"}):
        return False
    split, *letters = (_settings(backend.pre_tokenizer) or {}).get("pretokenizers") or [{}]
    return (
        split.get("pattern") == {"Regex": WORD_PATTERN}
        and (split["behavior"], split["invert"]) == ("Isolated", False)
        and [(step["type"], step.get("use_regex"), step.get("add_prefix_space")) for step in letters]
        == [("ByteLevel", False, False)]
    )


def _settings(step: Any) -> Any:
    """Settings of a tokenizer component, as in ``tokenizer.json``."""
    return None if step is None else json.loads(step.__getstate__())
