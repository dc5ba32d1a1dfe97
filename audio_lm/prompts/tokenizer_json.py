"""Tokenizers read from ``tokenizer.json`` without transformers, whose import takes longer than a preview.

They give every text the same ids as transformers' class of the same folder.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

FILE, SETTINGS = "tokenizer.json", "tokenizer_config.json"
WORD_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""The pre-tokenizer of Qwen, the same in all its models."""


class JsonTokenizer:
    """The part of transformers' tokenizer interface that a vocabulary uses."""

    def __init__(self, folder: Path) -> None:
        """Read a folder that ``save_pretrained`` has written.

        Raises:
            FileNotFoundError: a file is missing.
        """
        self.backend_tokenizer = Tokenizer.from_str((folder / FILE).read_text(encoding="utf-8"))
        self._pad_token = json.loads((folder / SETTINGS).read_bytes()).get("pad_token")

    def __len__(self) -> int:
        return int(self.backend_tokenizer.get_vocab_size())

    def __call__(
        self, text: str | Sequence[str], *, add_special_tokens: bool, **_: bool
    ) -> dict[str, list[Any]]:
        """Ids of a text, or of each of several."""
        if isinstance(text, str):
            return {
                "input_ids": self.backend_tokenizer.encode(text, add_special_tokens=add_special_tokens).ids
            }
        encodings = self.backend_tokenizer.encode_batch(list(text), add_special_tokens=add_special_tokens)
        return {"input_ids": [encoding.ids for encoding in encodings]}

    def get_vocab(self) -> dict[str, int]:
        """Id of every token."""
        return dict(self.backend_tokenizer.get_vocab())

    @property
    def pad_token_id(self) -> int | None:
        """Id of the padding token."""
        return None if self._pad_token is None else self.backend_tokenizer.token_to_id(self._pad_token)

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """Ids of the tokens that are found in a text before it is split into words."""
        return {
            token.content: index for index, token in self.backend_tokenizer.get_added_tokens_decoder().items()
        }

    def decode(
        self, ids: Sequence[int], *, skip_special_tokens: bool, clean_up_tokenization_spaces: bool = False
    ) -> str:
        """Text of some ids."""
        assert not clean_up_tokenization_spaces, "texts are decoded as they were encoded"
        return str(self.backend_tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens))
