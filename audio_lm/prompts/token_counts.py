"""Numbers of tokens of many texts.

A tokenizer with the pattern of Qwen cuts a text into words before it looks for tokens, so a word has as many wherever
it stands. An ASCII text is cut by the same pattern here, and only words that are new go to the tokenizer; texts in
other letters, and those of other tokenizers, go to it whole, many at a time.
"""

import json
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tokenizers import models

from audio_lm.prompts.tokenizer_json import PATTERN, JsonTokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ASCII_WORD = re.compile(
    PATTERN.replace(r"\p{L}\p{N}]", "a-zA-Z0-9]").replace(r"\p{L}", "[a-zA-Z]").replace(r"\p{N}", "[0-9]"),
    re.ASCII,
)
"""What ``PATTERN`` matches in a text of ASCII."""

MAX_KNOWN = 100_000  # words; more are forgotten, all at once
MAX_LETTERS = 64  # of a word that is kept


class TokenCounter:
    """Counts the tokens of texts that hold no markup, and remembers their words."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase | JsonTokenizer") -> None:
        self.tokenizer = tokenizer
        self.has_words = _cuts_by_pattern(tokenizer)
        self._num_tokens_of: dict[str, int] = {}

    def count(self, texts: Iterable[str]) -> list[int]:
        """Tokens of each text."""
        known = self._num_tokens_of
        words_of_text = [self._words(text) for text in texts]
        unknown = list({word for words in words_of_text for word in words if word not in known})
        known.update(zip(unknown, self._in_one_call(unknown), strict=True))
        counts = [sum(map(known.__getitem__, words)) for words in words_of_text]
        for word in unknown:
            if len(word) > MAX_LETTERS:
                del known[word]
        if len(known) > MAX_KNOWN:
            known.clear()
        return counts

    def _words(self, text: str) -> list[str]:
        return ASCII_WORD.findall(text) if self.has_words and text.isascii() else [text]

    def _in_one_call(self, words: Sequence[str]) -> list[int]:
        if not words:
            return []  # the tokenizer makes no list of none
        many = self.tokenizer(
            words, add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False
        )
        return [len(ids) for ids in many["input_ids"]]


def _cuts_by_pattern(tokenizer: "PreTrainedTokenizerBase | JsonTokenizer") -> bool:
    """Whether ASCII texts are cut by ``PATTERN`` and by nothing else."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or not isinstance(backend.model, models.BPE) or backend.model.dropout:
        return False
    if _settings(backend.normalizer) not in (None, {"type": "NFC"}):
        return False
    split, *letters = (_settings(backend.pre_tokenizer) or {}).get("pretokenizers") or [{}]
    return (
        split.get("pattern") == {"Regex": PATTERN}
        and (split["behavior"], split["invert"]) == ("Isolated", False)
        and [(step["type"], step.get("use_regex"), step.get("add_prefix_space")) for step in letters]
        == [("ByteLevel", False, False)]
    )


def _settings(step: Any) -> Any:
    """A step of a tokenizer as its file has it."""
    return None if step is None else json.loads(step.__getstate__())
