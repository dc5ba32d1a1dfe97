"""From a stage of a recipe to its plan: compile cut-sets, measure token lengths, plan the order of examples."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lhotse.cut import Cut

from audio_lm.common.audio_units import SAMPLES_PER_SECOND, WHISPER, AudioTokenCount
from audio_lm.common.errors import DataError
from audio_lm.common.rng import random_for
from audio_lm.config.schema import Recipe, StageConfig
from audio_lm.data.cache import CACHE
from audio_lm.data.examples import ExampleMaker, Prompt
from audio_lm.data.lengths import TokenLengths, cached_token_lengths
from audio_lm.data.manifest.cuts import cut_set_path, size_of
from audio_lm.data.manifest.index import IndexRules, SourceIndex, compile_source
from audio_lm.data.manifest.lazy_cuts import LoadedSource, Rows
from audio_lm.data.manifest.shar import files_of
from audio_lm.data.mixture.online import known_segments, rules_in_fingerprint
from audio_lm.data.mixture.packing import PackingRules
from audio_lm.data.mixture.schedule import (
    PackSchedule,
    differences,
    expected_examples,
    fingerprint,
    segments_of,
    window_length,
)
from audio_lm.data.mixture.segments import SegmentHistory
from audio_lm.data.mixture.weights import MixtureSource, clip_shares, piecewise_weights
from audio_lm.model.encoders.token_count import audio_token_count
from audio_lm.prompts.vocabulary import Vocabulary, tokens_for
from audio_lm.tracking.event_log.provenance import InputCutSet, digest_of_files
from audio_lm.training.objective_config import GIVEN, AnswerRule


def cache_of(recipe: Recipe) -> Path:
    """Folder of a recipe's cache: indexes, token lengths and tokenizers."""
    return Path(recipe.data_dir) / CACHE if recipe.cache_dir is None else Path(recipe.cache_dir)


@dataclass(frozen=True)
class StageSources:
    """The compiled cut-sets of a stage."""

    training: list[LoadedSource]
    """In the order of the recipe: by task, then by source."""

    validation: Mapping[str, list[Cut]]


@dataclass(frozen=True)
class StagePlan:
    """Order of a stage's examples, and the data it is computed from."""

    plan: PackSchedule
    loaded: list[LoadedSource]
    lengths: list[TokenLengths]
    leaves: list[MixtureSource]
    fingerprint: dict[str, str]

    expected_clips: list[int]
    """Expected number of examples of every leaf in the whole stage."""

    history: SegmentHistory
    """The same order as plain numbers, for a checkpoint."""


def compile_stage(recipe: Recipe, stage: StageConfig) -> StageSources:
    """Compile all cut-sets of a stage; every line is checked.

    Raises:
        DataError: a cut-set is missing, or too many of its lines are invalid; names file and line.
    """
    mixture, validation = stage.mixture, stage.validation
    pairs = [
        (task, source)
        for task, sources in mixture.sources.items()
        if mixture.weights[task] > 0 or task in mixture.schedule
        for source in sources
    ]
    # Tasks may share a source. Compile it once, because its whole manifest is hashed.
    index_of = {
        source: compile_index(recipe, stage, source)
        for source in dict.fromkeys(source for _, source in pairs)
    }
    training = [LoadedSource(task, source, Rows(index_of[source])) for task, source in pairs]
    held_out = {
        task: list(_some_cuts(recipe, stage, sources))
        for task, sources in validation.sources.items()
        if validation.weights[task] > 0
    }
    return StageSources(training, held_out)


def compile_index(recipe: Recipe, stage: StageConfig, source: str) -> SourceIndex:
    """Compile the index of a cut-set under the rules of a stage, or read it from the cache.

    Raises:
        DataError: the cut-set is missing, or too many of its lines are invalid.
    """
    rules = IndexRules(stage.long_audio, stage.max_bad_fraction, tuple(recipe.audio_roots))
    data_dir = Path(recipe.data_dir)
    return compile_source(cut_set_path(data_dir, source), source, rules, cache=cache_of(recipe))


def _some_cuts(recipe: Recipe, stage: StageConfig, sources: Sequence[str]) -> Iterator[Cut]:
    left = stage.max_validation_clips
    for source in sources:
        rows = Rows(compile_index(recipe, stage, source))
        for row in range(min(left, len(rows))):
            yield rows.cut(row)
            left -= 1


def plan_stage(
    recipe: Recipe, stage: StageConfig, sources: StageSources, vocabulary: Vocabulary
) -> StagePlan:
    """Plan the order of a stage.

    Raises:
        DataError: a cut lacks a label that its task needs, or a conversation is longer than a pack.
        RecipeError: all sources reach their caps before the stage ends.
    """
    fitting = [usable_rows(recipe, stage, leaf, vocabulary) for leaf in sources.training]
    loaded = [leaf for leaf, _ in fitting]
    leaves = [_leaf(leaf, lengths) for leaf, lengths in fitting]
    rules = rules_of(stage)
    segments, num_positions = segments_of(stage.mixture, leaves, rules, steps=stage.steps)
    first_shares = clip_shares(
        stage.mixture, leaves, weights=piecewise_weights(stage.mixture, steps=stage.steps)[0][1]
    )
    online = stage.mixture.online
    window = window_length(first_shares, leaves, rules, steps=online.every if online else None)
    names, digests = [name_of(leaf) for leaf in loaded], list(map(digest_of, loaded))
    known = fingerprint(
        dict(zip(names, digests, strict=True)),
        known_segments(stage.mixture, segments),
        rules,
        window=window,
        seed=recipe.seed,
        templates=dict(zip(names, (lengths.wording for _, lengths in fitting), strict=True)),
        wording=f"{stage.prompt} {vocabulary.digest[:16]}{_token_count_suffix(audio_token_count(recipe.model))}",
        online=rules_in_fingerprint(stage.mixture),
    )
    history = SegmentHistory(window, tuple(names), tuple(digests), tuple(segments), num_positions)
    return plan_with_history(recipe, stage, fitting, known, history)


def plan_with_history(
    recipe: Recipe,
    stage: StageConfig,
    fitting: Sequence[tuple[LoadedSource, TokenLengths]],
    known: dict[str, str],
    history: SegmentHistory,
) -> StagePlan:
    """Build the plan of a history.

    Args:
        fitting: leaves of the history with their lengths, in the order of the history.
        known: fingerprint of the recipe's own plan.
    """
    loaded, lengths = [leaf for leaf, _ in fitting], [of_leaf for _, of_leaf in fitting]
    plan = PackSchedule(
        history.names,
        [len(leaf.rows) for leaf in loaded],
        lengths,
        history.segments,
        rules_of(stage),
        window=history.window,
        seed=recipe.seed,
    )
    leaves = [_leaf(leaf, of_leaf) for leaf, of_leaf in fitting]
    expected = expected_examples(history.segments, history.num_positions)
    return StagePlan(plan, loaded, lengths, leaves, known, expected, history)


def rules_of(stage: StageConfig) -> PackingRules:
    """Packing rules of a stage."""
    return PackingRules(stage.packs_per_step, stage.pack_tokens, stage.global_batch, stage.packing)


def digest_of(leaf: LoadedSource) -> str:
    """Digest of a leaf's rows."""
    limit = "" if leaf.all_rows is None else f"/{len(leaf.rows)}"
    return leaf.rows.index.digest[:16] + limit


def maker_of(
    recipe: Recipe,
    vocabulary: Vocabulary,
    prompt: Prompt,
    *,
    is_evaluation: bool = False,
    with_answer: bool = True,
    wording: str | None = None,
    rule: AnswerRule = GIVEN,
) -> ExampleMaker:
    """Example maker of a recipe, with the audio token count of its model."""
    return ExampleMaker(
        vocabulary,
        prompt,
        is_evaluation,
        with_answer,
        audio_token_count(recipe.model),
        recipe.task_table,
        wording,
        rule,
    )


def stage_maker(
    recipe: Recipe, stage: StageConfig, vocabulary: Vocabulary, *, is_evaluation: bool = False
) -> ExampleMaker:
    """Example maker of a stage: conversations, pairs of them, or questions."""
    rule = stage.answer_rule
    return maker_of(
        recipe,
        vocabulary,
        stage.prompt,
        is_evaluation=is_evaluation,
        with_answer=not rule.num_sampled,
        rule=rule,
    )


def tokens_of(recipe: Recipe) -> tuple[str, ...]:
    """Tokens that the prompts of a recipe's stages need."""
    return tokens_for(stage.prompt for stage in recipe.stages.values())


def _token_count_suffix(token_count: AudioTokenCount) -> str:
    """Windows of the audio token count, or nothing for Whisper's, which the first saved plans did not state."""
    return "" if token_count == WHISPER else f" {[tuple(window) for window in token_count.windows]}"


def name_of(leaf: LoadedSource) -> str:
    """Name of a source under a task in plans and tables."""
    return f"{leaf.task} {leaf.source}"


def _leaf(leaf: LoadedSource, lengths: TokenLengths) -> MixtureSource:
    return MixtureSource(
        task=leaf.task,
        source=leaf.source,
        num_rows=len(leaf.rows),
        mean_seconds=float(leaf.rows.num_samples.mean()) / SAMPLES_PER_SECOND,
        mean_tokens=lengths.mean,
        all_rows=leaf.all_rows,
    )


def usable_rows(
    recipe: Recipe, stage: StageConfig, leaf: LoadedSource, vocabulary: Vocabulary
) -> tuple[LoadedSource, TokenLengths]:
    """Keep the conversations that fit into a pack, and of these at most ``max_rows``.

    The choice depends on seed and source: other limits, tasks and mixtures choose from the same order.

    Raises:
        DataError: as ``filter_by_length``.
    """
    leaf, lengths = filter_by_length(recipe, stage, leaf, vocabulary)
    limit = stage.mixture.max_rows.get(leaf.source)
    if limit is None or limit >= len(leaf.rows):
        return leaf, lengths
    order = random_for(recipe.seed, "max_rows", leaf.source).permutation(len(leaf.rows.index))
    place_of_row = np.argsort(order)
    kept = np.arange(len(leaf.rows.index)) if leaf.rows.kept is None else leaf.rows.kept
    chosen = np.sort(np.argsort(place_of_row[kept])[:limit])
    rows = Rows(leaf.rows.index, kept[chosen])
    return (
        leaf._replace(rows=rows, all_rows=len(kept)),
        TokenLengths(lengths.table[chosen], lengths.wording),
    )


def filter_by_length(
    recipe: Recipe, stage: StageConfig, leaf: LoadedSource, vocabulary: Vocabulary
) -> tuple[LoadedSource, TokenLengths]:
    """Keep the conversations that fit into a pack under every paraphrase.

    Returns:
        The leaf with these rows, and their token lengths.

    Raises:
        DataError: a cut lacks a label that its task needs, or conversations are too long and ``long_audio`` is
            not ``drop``, or all of them are too long.
    """
    maker = stage_maker(recipe, stage, vocabulary)
    lengths = cached_token_lengths(leaf.rows, maker, leaf.task, cache=cache_of(recipe))
    longest = lengths.table.max(axis=1)
    kept = (longest <= stage.pack_tokens).nonzero()[0]
    if len(kept) == len(longest):
        return leaf, lengths
    if stage.long_audio != "drop" or not len(kept):
        row = int(longest.argmax())
        raise DataError(
            f"cut {leaf.rows.cut(row).id!r} of {leaf.source!r} makes a conversation of {longest[row]} tokens, "
            f"over pack_tokens={stage.pack_tokens}, as {len(longest) - len(kept)} of {len(longest)} do; "
            f"raise it, or drop them with long_audio=drop if others remain"
        )
    return leaf._replace(rows=Rows(leaf.rows.index, kept)), TokenLengths(lengths.table[kept], lengths.wording)


def check_order(saved: Mapping[str, str], now: Mapping[str, str], *, stage: str) -> None:
    """Check that a stage resumes with the order it started with.

    Raises:
        DataError: it does not; names what changed.
    """
    if changed := differences(saved, now):
        raise DataError(
            f"stage {stage!r} cannot resume: {', '.join(changed)} changed since it started, so other clips would follow; "
            f"restore it, or start the stage again without resume"
        )


def unreadable_cuts(loaded: Sequence[LoadedSource]) -> dict[str, str]:
    """Cuts whose audio could not be read when their manifest was compiled -> reason."""
    return {line.cut_id: line.reason for leaf in loaded for line in leaf.rows.index.unreadable}


def manifests_of(recipe: Recipe) -> list[InputCutSet]:
    """All cut-sets of a run with their digests."""
    contexts: dict[str, str] = {}
    for stage in recipe.stages.values():
        contexts |= {source: "train" for sources in stage.mixture.sources.values() for source in sources}
        contexts |= {
            source: "validation" for sources in stage.validation.sources.values() for source in sources
        }
    contexts |= {benchmark.source: "test" for benchmark in recipe.evaluation.benchmarks.values()}
    manifests = []
    for source, context in contexts.items():
        path = cut_set_path(Path(recipe.data_dir), source)
        num_cuts, seconds = size_of(path)
        manifests.append(
            InputCutSet(
                name=source,
                path=path,
                digest=digest_of_files(*files_of(path)),
                hours=seconds / 3600,
                num_cuts=num_cuts,
                context=context,
            )
        )
    return manifests
