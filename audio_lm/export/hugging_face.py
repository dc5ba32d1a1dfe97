"""Export the model of a run as a Qwen2-Audio folder for transformers 4.57 and 5 and the libraries based on them.

Tokens, text and logits are the same: the tokenizer keeps every id, the chat template renders the text of
``prompts.chatml``, and rows of new tokens are at their ids.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from audio_lm.common.errors import CheckpointError, UserError, unknown
from audio_lm.common.files import partial_folder, put_folder, write_text
from audio_lm.common.protocols import Report
from audio_lm.config.schema import Recipe
from audio_lm.export import configs
from audio_lm.export.merge import merge_weights
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.weights.convert import to_qwen2_audio
from audio_lm.model.weights.files import write_weights
from audio_lm.model.weights.parts import load_weights
from audio_lm.pipeline.model import build_audio_lm
from audio_lm.prompts.vocabulary import TEXT_TOKENS, Vocabulary
from audio_lm.run.folder import RunFolder, check_writable
from audio_lm.run.open import kept_vocabulary, load_mid_stage, open_run

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
MAX_SHARD_BYTES = 5_000_000_000  # as in transformers


def export_run(
    run: Path,
    folder: Path,
    *,
    stage: str | None = None,
    step: int | None = None,
    dtype: str = "float32",
    trusts_code: bool = False,
    report: Report = print,
) -> None:
    """Export the model of a stage of a run as a Qwen2-Audio folder.

    Args:
        stage: stage to export; None takes the last one with weights.
        step: step of a checkpoint of the stage; None takes the weights at its end.
        trusts_code: see ``load_recipe``.

    Raises:
        UserError: there is no such run or stage, or the folder is not empty.
    """
    if dtype not in DTYPES:
        raise UserError(unknown("dtype", dtype, DTYPES, see="audio-lm export --help"))
    recipe, run_folder = open_run(run, trusts_code=trusts_code)
    chosen = _choose_stage(recipe, run_folder, stage, step)
    _check_free(folder)
    check_writable(RunFolder(folder))
    vocabulary = kept_vocabulary(recipe, run_folder)
    model = build_audio_lm(recipe, vocabulary)
    if step is None:
        run_folder.check_model(chosen)
        load_weights(model, run_folder.model(chosen))
    else:
        load_mid_stage(model, recipe, run_folder, chosen, step)
    export_model(model, vocabulary, folder, dtype=DTYPES[dtype])
    when = "" if step is None else f", step {step}"
    report(f"{folder}: stage {chosen!r}{when} of {run} as a Qwen2-Audio, {len(vocabulary)} tokens, {dtype}")


def _choose_stage(recipe: Recipe, folder: RunFolder, stage: str | None, step: int | None) -> str:
    if step is not None:
        if stage is None or stage not in recipe.stages:
            remedy = (
                "name it with --stage"
                if stage is None
                else unknown("stage", stage, recipe.stages, see="the recipe")
            )
            raise UserError(f"step {step} needs the name of its stage; {remedy}")
        return stage
    stages = [name for name in recipe.stages if folder.model(name).is_dir()]
    if not stages:
        raise CheckpointError(f"no stage of {folder.path} has weights; finish one with `audio-lm train`")
    if stage is not None and stage not in stages:
        raise CheckpointError(unknown("stage with weights", stage, stages, see=str(folder.path)))
    return stage or stages[-1]


def export_model(
    model: AudioLM,
    vocabulary: Vocabulary,
    folder: Path,
    *,
    dtype: torch.dtype = torch.float32,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Write a model and its vocabulary; the folder is created atomically.

    Raises:
        UserError: the folder is not empty, or the format has no place for this kind of model or tokenizer.
    """
    _check_free(folder)
    folder = folder.absolute()
    weights = to_qwen2_audio({name: tensor.to(dtype) for name, tensor in merge_weights(model).items()})
    tokenizer = tokenizer_json(vocabulary)
    with partial_folder(folder) as partial:
        _write(partial, model, vocabulary, weights, tokenizer, dtype=dtype, max_shard_bytes=max_shard_bytes)
        put_folder(partial, folder)


def _write(
    folder: Path,
    model: AudioLM,
    vocabulary: Vocabulary,
    weights: Mapping[str, torch.Tensor],
    tokenizer: dict[str, Any],
    *,
    dtype: torch.dtype,
    max_shard_bytes: int,
) -> None:
    write_weights(weights, folder, max_bytes=max_shard_bytes)
    config = configs.model_config(model, vocabulary, dtype)
    settings = {
        "config.json": config,
        "generation_config.json": configs.generation_config(vocabulary),
        "preprocessor_config.json": configs.feature_extractor_config(config["audio_config"]["num_mel_bins"]),
        "tokenizer_config.json": configs.tokenizer_config(),
        "tokenizer.json": tokenizer,
    }
    for name, content in settings.items():
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        write_text(folder / name, text)
    write_text(folder / "chat_template.jinja", configs.chat_template())


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


def _check_free(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists and is not empty; name a new folder")
