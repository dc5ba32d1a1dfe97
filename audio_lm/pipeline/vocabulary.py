"""The vocabulary of a run, and checks that its tags are single tokens."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from audio_lm.common.errors import RecipeError
from audio_lm.config.schema import Recipe
from audio_lm.data.cache import writable_cache
from audio_lm.data.manifest.cuts import texts_of
from audio_lm.model.decoder.settings import num_rows
from audio_lm.model.weights.files import published_folder
from audio_lm.model.weights.released import open_released
from audio_lm.pipeline.plan_stage import StageSources, cache_of, tokens_of
from audio_lm.pipeline.tokenizer_cache import prompts_of, rows_by_source, trained_tokenizer_folder
from audio_lm.prompts import tags
from audio_lm.prompts.tokenizer import load_or_train_tokenizer, load_tokenizer, train_tokenizer
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.tasks.registry import CHAT, find_task


def build_vocabulary(
    recipe: Recipe,
    sources: Mapping[str, StageSources],
    folder: Path | None = None,
    *,
    tokens: Sequence[str] | None = None,
) -> Vocabulary:
    """Load the vocabulary of a run, or train it on the texts of the training cuts.

    Args:
        folder: tokenizer saved by an earlier start of the same run.
        tokens: tokens beside words of an earlier start of the same run; None gives those that its prompts need.
    """
    settings = recipe.model.tokenizer
    if folder is not None and folder.is_dir():
        tokenizer = load_tokenizer(str(folder), trust_remote_code=recipe.model.trust_remote_code)
    elif settings.load is not None:
        tokenizer = load_tokenizer(settings.load, trust_remote_code=recipe.model.trust_remote_code)
    elif recipe.model.load is not None:
        tokenizer = load_tokenizer(str(published_folder(recipe.model.load, what="model")))
    else:
        tokenizer = _own_tokenizer(recipe, sources)
    num_base = _num_base(recipe, len(tokenizer))
    return Vocabulary(tokenizer, num_base=num_base, tokens=tokens or tokens_of(recipe))


def _own_tokenizer(recipe: Recipe, sources: Mapping[str, StageSources]) -> PreTrainedTokenizerBase:
    """Train a tokenizer on the training texts, or read it from the cache, so that other ranks read no text."""

    def train() -> PreTrainedTokenizerBase:
        all_rows = rows_by_source(sources).values()
        texts = texts_of(rows.cut(row) for rows in all_rows for row in range(len(rows)))
        words = sorted({text for text in texts if not text.startswith("<|")})
        return train_tokenizer(
            [*words, *(f" {text}" for text in words), *prompts_of(recipe)],
            vocab_size=recipe.model.tokenizer.vocab_size,
        )

    with writable_cache(cache_of(recipe)):
        return load_or_train_tokenizer(trained_tokenizer_folder(recipe, sources), train)


def _num_base(recipe: Recipe, num_tokens: int) -> int:
    if recipe.model.load is not None:
        return open_released(recipe.model.load).num_rows
    loaded = recipe.model.language_model.load
    if loaded is None:
        return num_tokens
    return num_rows(loaded, trust_remote_code=recipe.model.trust_remote_code)


def check_tags(recipe: Recipe, vocabulary: Vocabulary) -> None:
    """Check that all tags of stages and benchmarks are single tokens.

    Raises:
        RecipeError: they are not; names the stage or benchmark, the task and the tags.
    """
    for name, stage in recipe.stages.items():
        for task in stage.mixture.weights if stage.prompt == "tags" else ():
            if task == CHAT:
                raise RecipeError(
                    f"stage {name!r}: {CHAT!r} is available with chatml only; set prompt: chatml"
                )
            try:
                tags.check_tags(find_task(task, recipe.task_table), vocabulary.id_of)
            except RecipeError as error:
                raise RecipeError(f"stage {name!r}: {error}") from error
    check_benchmark_tags(recipe, vocabulary)


def check_benchmark_tags(recipe: Recipe, vocabulary: Vocabulary) -> None:
    """Check that all tags of benchmarks are single tokens.

    Raises:
        RecipeError: they are not; names the benchmark, the task and the tags.
    """
    for name, benchmark in recipe.evaluation.benchmarks.items():
        if benchmark.prompt == "tags" and benchmark.task != CHAT:
            try:
                tags.check_tags(find_task(benchmark.task, recipe.task_table), vocabulary.id_of)
            except RecipeError as error:
                raise RecipeError(f"benchmark {name!r}: {error}") from error
