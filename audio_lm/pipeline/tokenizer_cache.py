"""The cache folder of a tokenizer trained on a recipe's texts, and a vocabulary read from it without transformers."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import tokenizers

from audio_lm.common.rng import key_of
from audio_lm.common.seals import folder_fault
from audio_lm.config.schema import Recipe
from audio_lm.data.manifest.lazy_cuts import Rows
from audio_lm.pipeline.plan_stage import StageSources, cache_of, tokens_of
from audio_lm.prompts.tokenizer_json import JsonTokenizer
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.tasks.registry import CHAT, find_task

TEXTS = 1  # version of the rules for training texts, in ``pipeline.vocabulary`` and in ``texts_of``


def trained_tokenizer_folder(recipe: Recipe, sources: Mapping[str, StageSources]) -> Path:
    """Folder in the cache, named after everything that the tokenizer follows from."""
    digests = sorted(rows.index.digest for rows in rows_by_source(sources).values())
    vocab_size = recipe.model.tokenizer.vocab_size
    known = json.dumps([TEXTS, tokenizers.__version__, vocab_size, digests, prompts_of(recipe)])
    return cache_of(recipe) / "tokenizers" / f"{key_of(known):016x}"


def rows_by_source(sources: Mapping[str, StageSources]) -> dict[str, Rows]:
    """Training rows of all stages, each source once."""
    return {leaf.source: leaf.rows for stage in sources.values() for leaf in stage.training}


def prompts_of(recipe: Recipe) -> list[str]:
    """Prompts of a recipe's tasks, sorted; a conversation has its own."""
    names = {task for stage in recipe.stages.values() for task in stage.mixture.weights} - {CHAT}
    tasks = recipe.task_table
    return sorted({text for name in names for text in find_task(name, tasks).prompts})


def cached_vocabulary(recipe: Recipe, sources: Mapping[str, StageSources]) -> Vocabulary | None:
    """The vocabulary of ``build_vocabulary`` if its tokenizer is trained here and cached; else None."""
    model = recipe.model
    if any(part is not None for part in (model.load, model.tokenizer.load, model.language_model.load)):
        return None
    folder = trained_tokenizer_folder(recipe, sources)
    if folder_fault(folder) is not None:
        return None
    with suppress(FileNotFoundError):  # another process replaces it at this moment
        tokenizer = JsonTokenizer(folder)
        return Vocabulary(tokenizer, num_base=len(tokenizer), tokens=tokens_of(recipe))
    return None
