"""Files of a Qwen2-Audio folder for transformers 4.57 and 5 and the libraries based on them.

Tokens, text and logits are the same: the tokenizer keeps every id, the chat template renders the text of the prompt format,
and rows of new tokens are at their ids.
"""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from audio_lm.common.errors import UserError
from audio_lm.common.files import partial_folder, put_folder, write_text
from audio_lm.common.progress import progress
from audio_lm.common.protocols import Advance
from audio_lm.data.examples import Prompt
from audio_lm.export import configs
from audio_lm.export.merge import merge_weights
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.weights.convert import to_qwen2_audio
from audio_lm.model.weights.files import write_weights
from audio_lm.prompts.vocabulary import TEXT_TOKENS, Vocabulary

MAX_SHARD_BYTES = 5_000_000_000  # of transformers 4
OWN_FILES = re.compile(
    r"(adapter_)?(config|model|generation_config|preprocessor_config|processor_config|tokenizer|tokenizer_config)"
    r"(-\d+-of-\d+)?(\.safetensors\.index)?\.(json|safetensors)|chat_template\.jinja|README\.md|run\.py"
)
"""Names of the files of an export; a folder with others is never replaced."""


class ModelFiles:
    """Files of a model and its vocabulary, checked before anything is written.

    Args:
        dtype: of the weights.
        prompt: format that the chat template renders.

    Raises:
        UserError: the format has no place for this kind of model or tokenizer.
    """

    def __init__(
        self,
        model: AudioLM,
        vocabulary: Vocabulary,
        *,
        dtype: torch.dtype = torch.float32,
        prompt: Prompt = "chatml",
    ) -> None:
        self.dtype = dtype
        self.weights = to_qwen2_audio(merge_weights(model))
        config = configs.model_config(model, vocabulary, dtype)
        self.tables = {
            "config.json": config,
            "generation_config.json": configs.generation_config(vocabulary),
            "preprocessor_config.json": configs.feature_extractor_config(
                config["audio_config"]["num_mel_bins"]
            ),
            "tokenizer_config.json": configs.tokenizer_config(),
            "tokenizer.json": tokenizer_json(vocabulary),
        }
        if prompt == "tags":
            self.tables["processor_config.json"] = configs.processor_config(prompt)
        self.chat_template = configs.chat_template(prompt)

    @property
    def num_bytes(self) -> int:
        """Size of the weights in the files."""
        return sum(tensor.numel() for tensor in self.weights.values()) * self.dtype.itemsize

    def write(
        self, folder: Path, *, max_shard_bytes: int = MAX_SHARD_BYTES, advance: Advance | None = None
    ) -> None:
        """Write all files.

        Args:
            advance: called with the number of bytes after each weight file.
        """
        write_weights(self.weights, folder, max_bytes=max_shard_bytes, dtype=self.dtype, advance=advance)
        for name, content in self.tables.items():
            write_text(folder / name, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        write_text(folder / "chat_template.jinja", self.chat_template)


def export_model(
    model: AudioLM,
    vocabulary: Vocabulary,
    folder: Path,
    *,
    dtype: torch.dtype = torch.float32,
    prompt: Prompt = "chatml",
    max_shard_bytes: int = MAX_SHARD_BYTES,
    overwrite: bool = False,
    documents: Mapping[str, str] | None = None,
) -> None:
    """Write a model and its vocabulary; the folder is created atomically.

    Args:
        prompt: format that the chat template renders.
        documents: further files, name -> text.

    Raises:
        UserError: the folder is not empty, the disk is full, or the format has no place for this kind of model.
    """
    check_free(folder, overwrite=overwrite)
    files = ModelFiles(model, vocabulary, dtype=dtype, prompt=prompt)
    _check_space(folder, files.num_bytes)
    with (
        new_folder(folder, documents or {}) as partial,
        progress("writing", total=files.num_bytes // 10**6, what="MB") as advance,
    ):
        files.write(partial, max_shard_bytes=max_shard_bytes, advance=lambda count: advance(count // 10**6))


@contextmanager
def new_folder(folder: Path, documents: Mapping[str, str]) -> Iterator[Path]:
    """Yield a temporary folder to fill, which then replaces ``folder``, with these documents added."""
    with partial_folder(folder.absolute()) as partial:
        yield partial
        for name, text in documents.items():
            write_text(partial / name, text)
        put_folder(partial, folder.absolute())


def check_free(folder: Path, *, overwrite: bool = False) -> None:
    """Check that a folder is new or empty, or an earlier export that may be replaced.

    Raises:
        UserError: it is not.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not overwrite or not folder.is_dir():
        raise UserError(
            f"{folder} exists and is not empty; name a new folder, or replace an export with --overwrite"
        )
    others = sorted(
        path.name for path in folder.iterdir() if path.is_dir() or not OWN_FILES.fullmatch(path.name)
    )
    if others:
        raise UserError(
            f"{folder} has {others[0]!r}, which no export wrote, so it is not replaced; move it away or name a new folder"
        )


def _check_space(folder: Path, num_bytes: int) -> None:
    """Check that the disk of a folder has room.

    Raises:
        UserError: it has not.
    """
    nearest = folder.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    free = shutil.disk_usage(nearest).free
    if free < num_bytes:
        raise UserError(
            f"the export needs {num_bytes / 1e9:.1f} GB, but {nearest} has {free / 1e9:.1f} GB free; choose another disk, or "
            f"half the size with --dtype bfloat16"
        )


def tokenizer_json(vocabulary: Vocabulary) -> dict[str, Any]:
    """Content of ``tokenizer.json`` with the new tokens at their ids.

    The language model's table may have more rows than the tokenizer has tokens. The file cannot skip ids, so these rows
    get placeholder tokens ``<|unused_N|>``.

    Raises:
        UserError: the tokenizer cannot be written as ``tokenizer.json``.
    """
    backend = getattr(vocabulary.tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise UserError(
            f"a {type(vocabulary.tokenizer).__name__} cannot be written as tokenizer.json; load a tokenizer that has one"
        )
    content: dict[str, Any] = json.loads(backend.to_str())
    num_own = len(vocabulary.tokenizer)
    placeholders = [f"<|unused_{index}|>" for index in range(num_own, vocabulary.num_base)]
    tokens = [*placeholders, *vocabulary.new_tokens]
    added = [
        # Tags and time stamps are part of an answer: only tokens of text and chat are special, which decoding skips.
        _added_token(num_own + index, token, is_special=token in TEXT_TOKENS or index < len(placeholders))
        for index, token in enumerate(tokens)
    ]
    # No post-processor that adds a BOS token: prompts have every token that the model reads.
    return {**content, "added_tokens": [*content["added_tokens"], *added], "post_processor": None}


def _added_token(index: int, token: str, *, is_special: bool) -> dict[str, Any]:
    return {
        "id": index,
        "content": token,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": is_special,
    }
