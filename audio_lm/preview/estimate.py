"""Estimates of a recipe before training: how often each source is drawn, memory, and warnings.

Prepared cut-sets are measured; for the others, figures follow from the published size of their corpus
(``is_measured`` is false).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from audio_lm.common.audio_units import MAX_SECONDS
from audio_lm.common.errors import DataError
from audio_lm.common.source_name import split_source
from audio_lm.config.schema import Recipe, StageConfig
from audio_lm.corpora.published.base import Subset
from audio_lm.corpora.registry import CORPORA
from audio_lm.data.config import SourceFacts
from audio_lm.data.examples import ExampleMaker
from audio_lm.data.manifest.cuts import has_cut_set
from audio_lm.data.mixture.schedule import expected_examples, segments_of
from audio_lm.data.mixture.weights import MixtureSource, max_examples
from audio_lm.model.encoders.token_count import audio_token_count
from audio_lm.model.memory_estimate import num_parameters, step_size
from audio_lm.model.resolve_sizes import planned_vocab_size
from audio_lm.pipeline.plan_stage import (
    StagePlan,
    compile_stage,
    plan_stage,
    rules_of,
    stage_maker,
    tokens_of,
)
from audio_lm.pipeline.vocabulary import build_vocabulary
from audio_lm.preview.examples import RenderedExample, render_example, render_imagined
from audio_lm.tasks.registry import CHAT, find_task
from audio_lm.tasks.task import Task

MANY_EPOCHS = 40
"""Epochs of a source from which it is likely to be memorized."""

FEW_CLIPS = 50
"""Clips of a source below which its task is not learned."""

TEXT_TOKENS_PER_SECOND = 3.2  # of a transcript; ours, from digits and read speech
PROMPT_TOKENS = {"tags": 6, "natural": 14, "chatml": 40}  # ours; tokens beside the clip and the answer
LABEL_TOKENS = 6  # of an answer that is a label
SPOKEN_LABELS = frozenset({"text", "texts", "units", "translation", "slots", "turns"})
NUM_LONGEST = 3
NUM_EXAMPLES = 2  # of each task


@dataclass(frozen=True)
class SourceEstimate:
    """Estimate for a source under a task in one stage."""

    task: str
    source: str
    hours: float
    clips: int
    weight: float
    mean_tokens: float
    expected_clips: int
    expected_hours: float
    expected_tokens: int
    share_of_clips: float
    share_of_tokens: float
    passes: float
    is_measured: bool
    """True if measured on the cut-set, false if computed from the published size of its corpus."""

    all_clips: int
    """Clips before ``max_rows``; equal to ``clips`` if they are not limited."""

    longest: list[tuple[str, int]]
    """Its conversations with the most tokens: cut, tokens; empty if the cut-set is not prepared."""


@dataclass(frozen=True)
class StageEstimate:
    """Estimate for one stage."""

    name: str
    steps: int
    conversations_per_step: float
    pack_tokens: int
    packs_per_step: int
    fill: float
    """Fraction of the token budget that conversations use."""

    padding: float | None
    """Fraction of padding in the buckets of the first window; None without buckets or without prepared cut-sets."""

    leaves: list[SourceEstimate]
    memory_gib: dict[str, float]
    """Peak memory of one rank in a step: weights (optimizer state included), gradients, activations, logits, total."""

    examples: list[RenderedExample]
    """Rendered examples of each task; imagined if cut-sets are not prepared."""

    warnings: list[str] = field(default_factory=list)


def estimate_stages(recipe: Recipe) -> Iterator[StageEstimate]:
    """Estimate all stages of a recipe, in order.

    Raises:
        DataError: a source has neither a cut-set nor a published size.
    """
    sources = [source for stage in recipe.stages.values() for source in _sources(stage)]
    if not all(has_cut_set(Path(recipe.data_dir), source) for source in sources):
        for name, stage in recipe.stages.items():
            leaves = [_source_from_facts(recipe, stage, task, source) for task, source in _pairs(stage)]
            examples = list(_imagined(recipe, name, leaves))
            yield _estimate_stage(recipe, name, leaves, examples=examples)
        return
    compiled = {name: compile_stage(recipe, stage) for name, stage in recipe.stages.items()}
    vocabulary = build_vocabulary(recipe, compiled)
    for name, stage in recipe.stages.items():
        planned = plan_stage(recipe, stage, compiled[name], vocabulary)
        examples = list(_rendered(name, planned, stage_maker(recipe, stage, vocabulary)))
        yield _estimate_stage(recipe, name, planned.leaves, planned, examples=examples)


def _imagined(recipe: Recipe, name: str, leaves: Sequence[MixtureSource]) -> Iterator[RenderedExample]:
    """One example of each task of a stage with made-up labels."""
    for _, of_task in groupby(leaves, key=lambda leaf: leaf.task):
        leaf = next(of_task)
        yield render_imagined(
            name,
            _task_of(recipe, leaf.task),
            recipe.stages[name].prompt,
            seconds=leaf.mean_seconds,
            num_tokens=round(leaf.mean_tokens),
            token_count=audio_token_count(recipe.model),
        )


def _rendered(name: str, planned: StagePlan, maker: ExampleMaker) -> Iterator[RenderedExample]:
    """Render the first rows of each task."""
    for _, of_task in groupby(planned.loaded, key=lambda leaf: leaf.task):
        leaf = next(of_task)
        for row in range(min(NUM_EXAMPLES, len(leaf.rows))):
            yield render_example(name, leaf.rows.cut(row), leaf.task, maker, choice=row)


def _pairs(stage: StageConfig) -> list[tuple[str, str]]:
    mixture = stage.mixture
    tasks = [task for task in mixture.sources if mixture.weights[task] > 0 or task in mixture.schedule]
    return [(task, source) for task in tasks for source in mixture.sources[task]]


def _sources(stage: StageConfig) -> list[str]:
    return [source for _, source in _pairs(stage)]


def _source_from_facts(recipe: Recipe, stage: StageConfig, task: str, source: str) -> MixtureSource:
    """Size of a source from the published hours and clips, tokens from the constants above."""
    facts = stage.mixture.facts.get(source) or _published_size(source)
    if facts is None:
        raise DataError(
            f"cut-set {source!r} is not prepared and its size is unknown; import or prepare it, "
            f"or add its hours and clips to mixture.facts"
        )
    mean_seconds = facts.hours * 3600 / facts.clips
    answer = LABEL_TOKENS
    definition = _task_of(recipe, task)
    if definition is not None and SPOKEN_LABELS.intersection(definition.needs):
        answer = round(mean_seconds * TEXT_TOKENS_PER_SECOND)
    text = PROMPT_TOKENS[stage.prompt] + answer
    audio = mean_seconds * audio_token_count(recipe.model).tokens_per_second
    limit = stage.mixture.max_rows.get(source, facts.clips)
    all_rows = facts.clips if limit < facts.clips else None
    rule, tokens = stage.answer_rule, audio + text
    if rule.num_sampled:
        tokens = rule.num_sampled * (audio + PROMPT_TOKENS[stage.prompt] + rule.max_new_tokens)
    elif rule.is_paired:
        tokens *= 2
    return MixtureSource(task, source, min(limit, facts.clips), mean_seconds, tokens, all_rows)


def _task_of(recipe: Recipe, name: str) -> Task | None:
    """Task by name; None for conversations."""
    return None if name == CHAT else find_task(name, recipe.task_table)


def _published_size(source: str) -> Subset | SourceFacts | None:
    corpus, subset_split = split_source(source)
    return CORPORA[corpus].facts.subsets.get(subset_split) if corpus in CORPORA else None


def _estimate_stage(
    recipe: Recipe,
    name: str,
    leaves: Sequence[MixtureSource],
    planned: StagePlan | None = None,
    *,
    examples: list[RenderedExample],
) -> StageEstimate:
    stage = recipe.stages[name]
    rules = rules_of(stage)
    if planned is None:
        segments, num_positions = segments_of(stage.mixture, leaves, rules, steps=stage.steps)
        counts, longest = (
            expected_examples(segments, num_positions),
            [list[tuple[str, int]]() for _ in leaves],
        )
    else:
        counts, longest = planned.expected_clips, _longest(planned)
    tokens = [count * leaf.mean_tokens for count, leaf in zip(counts, leaves, strict=True)]
    rows = [
        _estimate_source(
            stage,
            leaf,
            count,
            of_leaf,
            sum(counts),
            sum(tokens),
            is_measured=planned is not None,
            longest=most,
        )
        for leaf, count, of_leaf, most in zip(leaves, counts, tokens, longest, strict=True)
    ]
    fill = sum(tokens) / (stage.steps * stage.packs_per_step * stage.pack_tokens)
    return StageEstimate(
        name=name,
        steps=stage.steps,
        conversations_per_step=sum(counts) / stage.steps,
        pack_tokens=stage.pack_tokens,
        packs_per_step=stage.packs_per_step,
        fill=fill,
        padding=planned.plan.padding_of(0) if planned is not None and stage.packing == "buckets" else None,
        leaves=rows,
        memory_gib=_memory(recipe, stage, leaves, counts),
        examples=examples,
        warnings=[*_warnings(stage, leaves, rows, fill), *(_left_out(planned) if planned else ())],
    )


def _memory(
    recipe: Recipe, stage: StageConfig, leaves: Sequence[MixtureSource], counts: Sequence[int]
) -> dict[str, float]:
    """Peak memory in GiB of a step on full packs of conversations of mean length."""
    hardware, num_base, num_new = recipe.hardware, planned_vocab_size(recipe.model), len(tokens_of(recipe))
    tokens = sum(count * leaf.mean_tokens for count, leaf in zip(counts, leaves, strict=True))
    seconds = sum(count * leaf.mean_seconds for count, leaf in zip(counts, leaves, strict=True))
    num_in_pack = stage.pack_tokens / (tokens / sum(counts))
    audio_seconds = num_in_pack * seconds / sum(counts)
    size = step_size(
        recipe.model,
        num_parameters(recipe.model, num_base=num_base, num_new=num_new),
        [part for part, config in stage.parts.items() if config.lr is not None],
        tokens=stage.pack_tokens,
        audio_seconds=audio_seconds,
        learned_tokens=max(
            0, round(stage.pack_tokens - audio_seconds * audio_token_count(recipe.model).tokens_per_second)
        ),
        num_ids=num_base + num_new,
        num_ranks=hardware.num_shards,
        is_half=hardware.is_half,
        is_muon=stage.optimizer.kind == "muon",
        accumulates=stage.packs_per_step > hardware.num_data_parallel_ranks,
        shard_frozen=hardware.frozen == "sharded",
    )
    names = ("weights", "gradients", "activations", "logits", "total")
    return {name: round(getattr(size, name) / 2**30, 3) for name in names}


def _estimate_source(
    stage: StageConfig,
    leaf: MixtureSource,
    count: int,
    tokens: float,
    all_clips: int,
    all_tokens: float,
    *,
    is_measured: bool,
    longest: list[tuple[str, int]],
) -> SourceEstimate:
    return SourceEstimate(
        task=leaf.task,
        source=leaf.source,
        hours=leaf.num_rows * leaf.mean_seconds / 3600,
        clips=leaf.num_rows,
        weight=stage.mixture.weights[leaf.task],
        mean_tokens=leaf.mean_tokens,
        expected_clips=count,
        expected_hours=count * leaf.mean_seconds / 3600,
        expected_tokens=round(tokens),
        share_of_clips=count / all_clips,
        share_of_tokens=tokens / all_tokens,
        passes=count / leaf.num_rows,
        is_measured=is_measured,
        all_clips=leaf.num_rows if leaf.all_rows is None else leaf.all_rows,
        longest=longest,
    )


def _longest(planned: StagePlan) -> list[list[tuple[str, int]]]:
    """The conversations of every leaf with the most tokens, longest first."""
    longest = []
    for leaf, lengths in zip(planned.loaded, planned.lengths, strict=True):
        tokens = lengths.table.max(axis=1)
        rows = tokens.argsort(kind="stable")[: -NUM_LONGEST - 1 : -1].tolist()
        longest.append([(leaf.rows.cut(row).id, int(tokens[row])) for row in rows])
    return longest


def _warnings(
    stage: StageConfig, leaves: Sequence[MixtureSource], rows: Sequence[SourceEstimate], fill: float
) -> Iterator[str]:
    for leaf, row in zip(leaves, rows, strict=True):
        name = f"{row.source} under {row.task}"
        if row.passes >= MANY_EPOCHS:
            yield f"{name} is drawn for {row.passes:.0f} epochs; lower its weight, cap it with max_epochs, or add data"
        if row.expected_clips < FEW_CLIPS:
            yield f"{name} is drawn {row.expected_clips} times in all, too few to learn; raise its weight or leave it out"
        cap = max_examples(stage.mixture, leaf)
        if cap is not None and row.expected_clips >= cap:
            yield f"{name} reaches max_epochs before the end; other sources take its share"
    yield from _online_warnings(stage, leaves)
    if fill > 1:
        yield (
            f"steps of {stage.global_batch} conversations are expected to need {fill:.2f} of their token budget; "
            f"raise pack_tokens or packs_per_step, or lower global_batch"
        )


def _online_warnings(stage: StageConfig, leaves: Sequence[MixtureSource]) -> Iterator[str]:
    """Warnings about adapted shares: first step, and epochs that a task may reach at its largest share."""
    mixture, online = stage.mixture, stage.mixture.online
    if online is None:
        return
    first = online.every * -(-max(1, online.warmup_steps + online.lead_steps) // online.every)
    if first >= stage.steps:
        yield (
            f"mixture.online adapts shares from about step {first} on, and the stage has {stage.steps}, so they stay those "
            f"of the weights; lower online.every, warmup_steps or lead_steps"
        )
        return
    tasks = mixture.drawn_tasks
    _, highs = online.bounds(tasks)
    yield (
        f"shares are adapted from about step {first} on, every {online.every} steps; the table shows those of the weights; "
        f"a task may get {', '.join(f'{task} {100 * high:g} %' for task, high in zip(tasks, highs, strict=True))} at most"
    )


def _left_out(planned: StagePlan) -> Iterator[str]:
    """Warnings about what ``long_audio: drop`` leaves out."""
    for leaf in planned.loaded:
        index, name = leaf.rows.index, f"{leaf.source} under {leaf.task}"
        if index.num_dropped:
            yield f"{name} leaves out {index.num_dropped} cuts with a clip over {MAX_SECONDS:.0f} s"
        if num_over := len(index) - (leaf.all_rows or len(leaf.rows)):
            yield f"{name} leaves out {num_over} of {len(index)} conversations, which are over pack_tokens"
