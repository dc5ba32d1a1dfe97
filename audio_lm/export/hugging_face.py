"""A run's model as a Qwen2-Audio folder that transformers 4.57 and 5, and what builds on them, load.

Same tokens, same text, same logits: the tokenizer keeps every id, the chat template says what
``prompts.chatml`` says, and rows of new tokens stand where their ids point.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from audio_lm.common.errors import CheckpointError, UserError, unknown
from audio_lm.common.files import partial_folder, put_folder, write_text
from audio_lm.config.schema import Recipe
from audio_lm.export import configs
from audio_lm.export.merge import merged_weights
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.weights.convert import to_qwen2_audio
from audio_lm.model.weights.files import write_weights
from audio_lm.model.weights.parts import load_weights
from audio_lm.pipeline.model import build_audio_lm
from audio_lm.prompts.vocabulary import TEXT_TOKENS, Vocabulary
from audio_lm.run.folder import RunFolder, check_writable
from audio_lm.run.open import kept_vocabulary, load_mid_stage, open_run

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
MAX_SHARD_BYTES = 5_000_000_000  # what transformers writes


def export_run(
    run: Path,
    folder: Path,
    *,
    stage: str | None = None,
    step: int | None = None,
    dtype: str = "float32",
    trusts_code: bool = False,
    report: Callable[[str], None] = print,
) -> None:
    """Write what a stage of a run has left as a Qwen2-Audio folder.

    Args:
        stage: the last that left weights, unless named.
        trusts_code: as of ``load_recipe``.
        step: of a checkpoint of the stage, instead of what it left at its end.

    Raises:
        UserError: there is no such run or stage, or something is in the way.
    """
    if dtype not in DTYPES:
        raise UserError(unknown("dtype", dtype, DTYPES, see="audio-lm export --help"))
    recipe, run_folder = open_run(run, trusts_code=trusts_code)
    chosen = _chosen_stage(recipe, run_folder, stage, step)
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


def _chosen_stage(recipe: Recipe, folder: RunFolder, stage: str | None, step: int | None) -> str:
    if step is not None:
        if stage is None or stage not in recipe.stages:
            named = (
                "name it with --stage"
                if stage is None
                else unknown("stage", stage, recipe.stages, see="the recipe")
            )
            raise UserError(f"step {step} is of one stage; {named}")
        return stage
    stages = [name for name in recipe.stages if folder.model(name).is_dir()]
    if not stages:
        raise CheckpointError(f"no stage of {folder.path} has left weights; finish one with `audio-lm train`")
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
    """Write a model and its vocabulary; the folder appears whole or not at all.

    Raises:
        UserError: the folder is not empty, or the model or its tokenizer is of a kind that Qwen2-Audio has no place for.
    """
    _check_free(folder)
    folder = folder.absolute()
    weights = to_qwen2_audio({name: tensor.to(dtype) for name, tensor in merged_weights(model).items()})
    tokenizer = exported_tokenizer(vocabulary)
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


def exported_tokenizer(vocabulary: Vocabulary) -> dict[str, Any]:
    """``tokenizer.json`` in which the new tokens have their ids.

    Between a tokenizer's last token and the end of the language model's table there may be rows without
    tokens; files cannot skip ids, so those get names that nobody writes.

    Raises:
        UserError: the tokenizer has no such file.
    """
    backend = getattr(vocabulary.tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise UserError(
            f"a {type(vocabulary.tokenizer).__name__} cannot be written as tokenizer.json; load a tokenizer that has one"
        )
    written: dict[str, Any] = json.loads(backend.to_str())
    own = len(vocabulary.tokenizer)
    fillers = [f"<|unused_{index}|>" for index in range(own, vocabulary.num_base)]
    tokens = [*fillers, *vocabulary.new_tokens]
    added = [
        # Tags and stamps are part of an answer: only the tokens of text and chat vanish when it is read out.
        _added(own + index, token, is_special=token in TEXT_TOKENS or index < len(fillers))
        for index, token in enumerate(tokens)
    ]
    # No beginning-of-text or the like: prompts hold every token that the model reads.
    return {**written, "added_tokens": [*written["added_tokens"], *added], "post_processor": None}


def _added(index: int, token: str, *, is_special: bool) -> dict[str, Any]:
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
        raise UserError(f"{folder} is there already and not empty; name a new folder")
