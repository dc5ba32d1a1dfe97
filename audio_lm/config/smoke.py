"""Smoke tests of a recipe without some of its data: small cut-sets replace absent ones.

Data that exists is used unchanged. A task without data and without a replacement is dropped,
and so is a benchmark without data. The replacements are ``stand_ins`` of the recipe.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from audio_lm.common.errors import RecipeError
from audio_lm.common.source_name import corpus_of
from audio_lm.config.guard import available_guard
from audio_lm.config.own_tasks import with_stand_in_label
from audio_lm.config.schema import Recipe, StageConfig
from audio_lm.data.config import ALL, MixtureConfig, OnlineConfig
from audio_lm.tasks.registry import CHAT
from audio_lm.training.objective_config import DPO

MOST_NAMED = 3  # absent benchmarks with a line each
PAIRS = "pairs"  # key of the replacement of chats with rejected answers

IsAvailable = Callable[[str], bool]


@dataclass(frozen=True)
class SmokeRecipe:
    """Recipe whose data exists or can be prepared here."""

    recipe: Recipe

    notes: tuple[str, ...] = ()
    """Message for each cut-set that is replaced or dropped."""


@dataclass
class _Replacements:
    """Replacement cut-sets of tasks, and messages about their use."""

    source_of_task: dict[str, str]
    is_available: IsAvailable
    notes: dict[str, None] = field(default_factory=dict)

    def sources(self, task: str, sources: list[str]) -> list[str]:
        """Available sources of a task, plus its replacement if some are absent."""
        available = [source for source in sources if self.is_available(source)]
        absent = [source for source in sources if source not in available]
        if not absent:
            return sources
        replacement = self.source_of_task.get(task)
        if replacement is None:
            self.notes |= {
                f"{source} of task {task} is dropped: it is absent and has no replacement": None
                for source in absent
            }
            return available
        self.notes |= {f"{source} is absent and replaced by {replacement}": None for source in absent}
        return list(dict.fromkeys([*available, replacement]))


def with_smoke_data(recipe: Recipe) -> SmokeRecipe:
    """Replace absent data of a recipe by its ``stand_ins``.

    Raises:
        RecipeError: a stage would have no data.
    """
    is_available = _availability(recipe)
    if not recipe.stand_ins.sources or all(map(is_available, recipe.sources)):
        return SmokeRecipe(recipe)
    replacements = _Replacements(dict(recipe.stand_ins.sources), is_available)
    recipe = _with_stand_in_labels(recipe, replacements)
    stages = {name: _stage(name, stage, replacements) for name, stage in recipe.stages.items()}
    smoke = replace(recipe, stages=stages, **_benchmarks(recipe, replacements))
    needed = {corpus_of(source) for source in smoke.sources} - recipe.corpora.keys()
    small = {name: settings for name, settings in recipe.stand_ins.corpora.items() if name in needed}
    tasks = {name: config for name, config in recipe.tasks.items() if smoke.sources_of(name)}
    smoke = replace(smoke, corpora=recipe.corpora | small, tasks=tasks)
    return SmokeRecipe(smoke, tuple(replacements.notes))


def _with_stand_in_labels(recipe: Recipe, replacements: _Replacements) -> Recipe:
    """Ask for another label in the recipe's own tasks without any data, and add the replacement of their sources."""
    stand_ins, tasks = recipe.stand_ins, dict(recipe.tasks)
    for name, config in recipe.tasks.items():
        if stand_ins.own_source and not any(map(replacements.is_available, recipe.sources_of(name))):
            replacements.source_of_task[name] = stand_ins.own_source
            tasks[name] = with_stand_in_label(config, stand_ins.own_label)
            note = f"label {config.label} of task {name} is replaced by {stand_ins.own_label} of {stand_ins.own_source}"
            replacements.notes[note] = None
    return replace(recipe, tasks=tasks)


def _availability(recipe: Recipe) -> IsAvailable:
    """Predicate: a cut-set is on this machine, or the recipe prepares its corpus."""
    if not recipe.stand_ins.sources:
        return lambda source: True
    from audio_lm.data.manifest.cuts import has_cut_set

    return lambda source: corpus_of(source) in recipe.corpora or has_cut_set(Path(recipe.data_dir), source)


def _benchmarks(recipe: Recipe, replacements: _Replacements) -> dict[str, Any]:
    """Benchmarks with data, and their published scores."""
    benchmarks = recipe.evaluation.benchmarks
    kept = {
        name: benchmark
        for name, benchmark in benchmarks.items()
        if replacements.is_available(benchmark.source)
    }
    absent = [name for name in benchmarks if name not in kept]
    if len(absent) > MOST_NAMED:
        named = ", ".join(absent[:MOST_NAMED])
        note = f"{len(absent)} benchmarks are dropped, because their data is absent: {named}, ..."
        replacements.notes[note] = None
    for name in absent if len(absent) <= MOST_NAMED else ():
        replacements.notes[f"benchmark {name} is dropped: {benchmarks[name].source} is absent"] = None
    published = {name: values for name, values in recipe.published.items() if name in kept}
    guard = available_guard(recipe.guard, kept, replacements.is_available)
    if guard != recipe.guard:
        replacements.notes["parts of guard are dropped: their data is absent"] = None
    return {"evaluation": replace(recipe.evaluation, benchmarks=kept), "published": published, "guard": guard}


def _stage(name: str, stage: StageConfig, replacements: _Replacements) -> StageConfig:
    if stage.objective == DPO:
        known = replacements.source_of_task
        replacements = replace(replacements, source_of_task={CHAT: known[PAIRS]} if PAIRS in known else {})
    mixture = _mixture(stage.mixture, replacements)
    if not mixture.weights:
        raise RecipeError(
            f"stage {name!r}: none of its tasks has data or a replacement; add a task to stand_ins.sources"
        )
    return replace(stage, mixture=mixture, validation=_mixture(stage.validation, replacements))


def _mixture(mixture: MixtureConfig, replacements: _Replacements) -> MixtureConfig:
    """Replace the absent sources of a mixture; without any, the mixture itself is returned."""
    now = {task: replacements.sources(task, sources) for task, sources in mixture.sources.items()}
    if now == mixture.sources:
        return mixture
    kept = {task: sources for task, sources in now.items() if sources}
    groups = {group: [task for task in tasks if task in kept] for group, tasks in mixture.groups.items()}
    groups = {group: tasks for group, tasks in groups.items() if tasks}
    unchanged = {
        source for task, sources in kept.items() if sources == mixture.sources[task] for source in sources
    }
    known = {source for sources in kept.values() for source in sources} | {ALL}
    return replace(
        mixture,
        sources=kept,
        weights={task: mixture.weights[task] for task in kept},
        groups=groups,
        group_weights={group: weight for group, weight in mixture.group_weights.items() if group in groups},
        source_weights={
            source: weight for source, weight in mixture.source_weights.items() if source in unchanged
        },
        schedule={task: points for task, points in mixture.schedule.items() if task in kept},
        max_epochs={source: epochs for source, epochs in mixture.max_epochs.items() if source in known},
        max_rows={source: rows for source, rows in mixture.max_rows.items() if source in unchanged},
        facts={source: facts for source, facts in mixture.facts.items() if source in known},
        online=_online(mixture, kept, replacements),
    )


def _online(
    mixture: MixtureConfig, kept: Mapping[str, Sequence[str]], replacements: _Replacements
) -> OnlineConfig | None:
    """Rules of adapted shares without the tasks that are dropped; None where too few tasks are left."""
    if mixture.online is None:
        return None
    rules = mixture.online.only([task for task in mixture.drawn_tasks if task in kept])
    if rules is None:
        replacements.notes["mixture.online is dropped: the tasks that have data cannot keep its bounds"] = (
            None
        )
    return rules


def has_enough(recipe: Recipe, corpus: str) -> bool:
    """True if a recipe has stand-ins and all cut-sets of a corpus that it prepares exist, in any size."""
    sources = [source for source in recipe.sources if corpus_of(source) == corpus]
    if not recipe.stand_ins.sources or not sources:
        return False
    from audio_lm.data.manifest.cuts import has_cut_set

    return all(has_cut_set(Path(recipe.data_dir), source) for source in sources)


def shrink_corpus(own: Mapping[str, Any], small: Mapping[str, Any]) -> dict[str, Any]:
    """Reduce the settings of a corpus that a recipe prepares to the size of its stand-in.

    >>> shrink_corpus({"seed": 1, "clips": {"digits": 6000}}, {"clips": {"digits": 12, "notes": 12}, "test_clips": 4})
    {'seed': 1, 'clips': {'digits': 12}, 'test_clips': 4}
    """
    return {**own, **{key: _shrunk_table(own.get(key), value) for key, value in small.items()}}


def _shrunk_table(own: Any, small: Any) -> Any:
    if isinstance(own, dict) and own and isinstance(small, dict):
        return own | {name: number for name, number in small.items() if name in own}
    return small
