"""A recipe tried without some of its data: small cut-sets stand in for those that are not here.

Data that is here is used as it is, for that is what is to be tried. Tasks without data
and without a stand-in are left out, and so are benchmarks without data.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from audio_lm.common.errors import RecipeError
from audio_lm.common.source_name import corpus_of
from audio_lm.config.schema import Recipe, StageConfig
from audio_lm.data.config import ALL, MixtureConfig

IsHere = Callable[[str], bool]


@dataclass(frozen=True)
class Tried:
    """A recipe on data that is here or can be made here."""

    recipe: Recipe

    notes: tuple[str, ...] = ()
    """A line for each cut-set that is replaced and for all that is left out."""


@dataclass
class _Replacing:
    """What stands in for what."""

    source_of_task: Mapping[str, str]
    is_here: IsHere
    notes: dict[str, None] = field(default_factory=dict)

    def sources(self, task: str, sources: list[str]) -> list[str]:
        """Those of a task that are here, and once what stands in for all others."""
        kept = [source for source in sources if self.is_here(source)]
        away = [source for source in sources if source not in kept]
        if not away:
            return sources
        stand_in = self.source_of_task.get(task)
        if stand_in is None:
            self.notes |= {
                f"{source} of task {task} is left out: it is not here, nothing stands in": None
                for source in away
            }
            return kept
        self.notes |= {f"{stand_in} stands in for {source}": None for source in away}
        return list(dict.fromkeys([*kept, stand_in]))


def with_smoke_data(recipe: Recipe) -> Tried:
    """The recipe on data that is here or can be made here.

    Raises:
        RecipeError: a stage would have no data.
    """
    is_here = _here(recipe)
    if not recipe.stand_ins.sources or all(map(is_here, recipe.sources)):
        return Tried(recipe)
    replacing = _Replacing(recipe.stand_ins.sources, is_here)
    stages = {name: _stage(name, stage, replacing) for name, stage in recipe.stages.items()}
    tried = replace(recipe, stages=stages, **_benchmarks(recipe, replacing))
    wanted = {corpus_of(source) for source in tried.sources} - recipe.corpora.keys()
    small = {name: settings for name, settings in recipe.stand_ins.corpora.items() if name in wanted}
    return Tried(replace(tried, corpora=recipe.corpora | small), tuple(replacing.notes))


def _here(recipe: Recipe) -> IsHere:
    """Whether a cut-set is on this machine, or the recipe prepares its corpus."""
    if not recipe.stand_ins.sources:
        return lambda source: True
    from audio_lm.data.manifest.cuts import has_cut_set

    return lambda source: corpus_of(source) in recipe.corpora or has_cut_set(Path(recipe.data_dir), source)


def _benchmarks(recipe: Recipe, replacing: _Replacing) -> dict[str, Any]:
    """Those with data, and what is expected of them."""
    kept = {}
    for name, benchmark in recipe.evaluation.benchmarks.items():
        if replacing.is_here(benchmark.source):
            kept[name] = benchmark
        else:
            replacing.notes[f"benchmark {name} is left out: {benchmark.source} is not here"] = None
    published = {name: values for name, values in recipe.published.items() if name in kept}
    return {"evaluation": replace(recipe.evaluation, benchmarks=kept), "published": published}


def _stage(name: str, stage: StageConfig, replacing: _Replacing) -> StageConfig:
    mixture = _mixture(stage.mixture, replacing)
    if not mixture.weights:
        raise RecipeError(
            f"stage {name!r}: none of its tasks has data here or a stand-in; give stand_ins.sources a line for one"
        )
    return replace(stage, mixture=mixture, validation=_mixture(stage.validation, replacing))


def _mixture(mixture: MixtureConfig, replacing: _Replacing) -> MixtureConfig:
    """The mixture with every source replaced that is not here; untouched where all are."""
    now = {task: replacing.sources(task, sources) for task, sources in mixture.sources.items()}
    if now == mixture.sources:
        return mixture
    kept = {task: sources for task, sources in now.items() if sources}
    groups = {group: [task for task in tasks if task in kept] for group, tasks in mixture.groups.items()}
    groups = {group: tasks for group, tasks in groups.items() if tasks}
    whole = {
        source for task, sources in kept.items() if sources == mixture.sources[task] for source in sources
    }
    named = {source for sources in kept.values() for source in sources} | {ALL}
    return replace(
        mixture,
        sources=kept,
        weights={task: mixture.weights[task] for task in kept},
        groups=groups,
        group_weights={group: weight for group, weight in mixture.group_weights.items() if group in groups},
        source_weights={
            source: weight for source, weight in mixture.source_weights.items() if source in whole
        },
        schedule={task: points for task, points in mixture.schedule.items() if task in kept},
        max_epochs={source: passes for source, passes in mixture.max_epochs.items() if source in named},
        facts={source: facts for source, facts in mixture.facts.items() if source in named},
    )


def has_enough(recipe: Recipe, corpus: str) -> bool:
    """Whether a recipe is only tried, and what is here of a corpus it prepares has all its cut-sets, of whatever size."""
    named = [source for source in recipe.sources if corpus_of(source) == corpus]
    if not recipe.stand_ins.sources or not named:
        return False
    from audio_lm.data.manifest.cuts import has_cut_set

    return all(has_cut_set(Path(recipe.data_dir), source) for source in named)


def shrunk(own: Mapping[str, Any], small: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a corpus that a recipe prepares itself, made as small as those of its stand-in.

    >>> shrunk({"seed": 1, "clips": {"digits": 6000}}, {"clips": {"digits": 12, "notes": 12}, "test_clips": 4})
    {'seed': 1, 'clips': {'digits': 12}, 'test_clips': 4}
    """
    return {**own, **{key: _shrunk_table(own.get(key), value) for key, value in small.items()}}


def _shrunk_table(own: Any, small: Any) -> Any:
    if isinstance(own, dict) and own and isinstance(small, dict):
        return own | {name: number for name, number in small.items() if name in own}
    return small
