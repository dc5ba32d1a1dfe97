"""Checks of a recipe beyond the types of its schema: names, ranges, combinations of settings, folders, remote code.

They run before anything is built or written.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from audio_lm.common.errors import RecipeError, UserError, unknown
from audio_lm.common.names import check_name, check_path, is_name
from audio_lm.common.safe_yaml import COMMAND_LINE, Where
from audio_lm.common.source_name import check_source_name
from audio_lm.config.build import place_of
from audio_lm.config.guard import check_guard
from audio_lm.config.objectives import check_objective
from audio_lm.config.own_tasks import Check, checks_of_own_tasks
from audio_lm.config.schema import Recipe, StageConfig
from audio_lm.evaluation.benchmarks import check_benchmark
from audio_lm.evaluation.config import BASELINES
from audio_lm.model.config import LOG_MEL_KINDS
from audio_lm.tasks.registry import CHAT, TASKS, check_task_name
from audio_lm.tracking.mlflow.uri import check_experiment, sqlite_path
from audio_lm.training.config import PluginConfig

MAX_NAME_BYTES, MAX_PATH_BYTES = 255, 4000  # limits of Linux file systems
MAX_OF_SUFFIX = {"layers": 1000, "_heads": 1024, "_size": 2**20, "_dim": 2**20}
"""Suffix of a transformers setting -> its largest allowed value."""


def problems_in(recipe: Recipe, where: Where) -> list[str]:
    """Messages for all faults of a recipe with correct types, each with file and line."""
    problems = [] if recipe.stages else ["recipe: it has no stage; add one under `stages`"]
    for key, check in _checks(recipe):
        try:
            check()
        except UserError as error:
            problems.append(f"{place_of(where, key)}: {error}")
    return problems


def _checks(recipe: Recipe) -> Iterator[Check]:
    """Yield the dotted key of each setting to check, with the check."""
    yield "evaluation.baselines", partial(_check_baselines, recipe.evaluation.baselines)
    yield "name", partial(check_name, "run", recipe.name)
    yield "data_dir", partial(_check_folder, recipe.data_dir)
    yield "cache_dir", partial(_check_folder, recipe.cache_dir or "")
    yield "extends", partial(_check_folder, recipe.extends or "")
    yield from (("audio_roots", partial(_check_folder, root)) for root in recipe.audio_roots)
    yield "tracking.experiment", partial(check_experiment, recipe.tracking)
    for part in ("encoder", "language_model"):
        settings = getattr(recipe.model, part).settings
        yield from (
            (f"model.{part}.settings.{key}", partial(_check_setting, key, settings[key])) for key in settings
        )
    yield from checks_of_own_tasks(recipe)
    for name in recipe.corpora:
        yield f"corpora.{name}", partial(check_name, "corpus", name)
    for name, stage in recipe.stages.items():
        yield f"stages.{name}", partial(check_name, "stage", name)
        yield from ((f"stages.{name}.{key}", check) for key, check in _checks_of_stage(name, stage, recipe))
    yield "guard", partial(check_guard, recipe)
    for name, benchmark in recipe.evaluation.benchmarks.items():
        key = f"evaluation.benchmarks.{name}"
        yield key, partial(check_path, "benchmark", name)
        yield key, partial(check_benchmark, name, recipe.evaluation, recipe.tasks)
        yield f"{key}.stage", partial(_check_stage, benchmark.stage, recipe)


def _checks_of_stage(name: str, stage: StageConfig, recipe: Recipe) -> Iterator[Check]:
    for kind, mixture in (("mixture", stage.mixture), ("validation", stage.validation)):
        for task, sources in mixture.sources.items():
            key = f"{kind}.sources.{task}"
            yield key, partial(check_task_name, task, [*TASKS, *recipe.tasks, CHAT])
            yield from ((key, partial(check_source_name, source)) for source in sources)
        yield from (
            (f"{kind}.groups.{group}", partial(check_name, "group", group)) for group in mixture.groups
        )
    yield "validation.max_rows", partial(_check_validation_rows, name, stage)
    if (online := stage.mixture.online) is not None:
        yield "mixture.online.lead_steps", partial(online.check_lead, recipe.hardware.num_workers)
    yield "validation.online", partial(_check_validation_shares, name, stage)
    yield "start_from", partial(_check_folder, stage.start_from or "")
    yield "spec_augment", partial(_check_spec_augment, name, recipe)
    yield "objective", partial(check_objective, name, stage)
    yield "parts", partial(_check_learning, name, stage)


def _check_validation_rows(name: str, stage: StageConfig) -> None:
    if stage.validation.max_rows:
        raise RecipeError(
            f"stage {name!r}: validation.max_rows has no effect -- expected max_rows in the mixture only -- set "
            f"max_validation_clips for a shorter validation"
        )


def _check_spec_augment(name: str, recipe: Recipe) -> None:
    kind = recipe.model.encoder.kind
    if recipe.stages[name].spec_augment is not None and kind not in LOG_MEL_KINDS:
        raise RecipeError(
            f"stage {name!r} has spec_augment, but an encoder of kind {kind!r} takes waveforms and not log-mels; "
            f"set spec_augment: null"
        )


def _check_validation_shares(name: str, stage: StageConfig) -> None:
    if stage.validation.online is not None:
        raise RecipeError(
            f"stage {name!r} has validation.online, but the shares of validation sources have no effect; move it to `mixture`"
        )


def _check_learning(name: str, stage: StageConfig) -> None:
    first_steps = [part.from_step for part in stage.parts.values() if part.lr is not None]
    if stage.parts and not first_steps:
        raise RecipeError(
            f"stage {name!r}: nothing learns, since all parts have lr: null; set the lr of one, or evaluate a model without "
            f"training with `audio-lm evaluate FOLDER --source CORPUS/SUBSET-SPLIT --task TASK`"
        )
    if first_steps and min(first_steps) > 0:
        raise RecipeError(
            f"stage {name!r}: no part is trained before step {min(first_steps)}; set from_step: 0 for a trained part"
        )


def _check_folder(path: str) -> None:
    longest = max(len(name.encode()) for name in path.split("/"))
    if "\0" in path or longest > MAX_NAME_BYTES or len(path.encode()) > MAX_PATH_BYTES:
        raise RecipeError(
            f"{path[:40]!r} is not a valid folder; expected a path that the file system accepts; correct it"
        )


def _check_setting(name: str, value: object) -> None:
    """Check that a setting of a transformers model is not so large that building the model would not finish."""
    limit = next((limit for suffix, limit in MAX_OF_SUFFIX.items() if name.endswith(suffix)), None)
    if limit is not None and isinstance(value, int) and value > limit:
        raise RecipeError(f"`{name}` is {value}; it must be {limit} or less")


def _check_baselines(names: Sequence[str]) -> None:
    for name in names:
        if name not in BASELINES:
            raise RecipeError(unknown("baseline", name, BASELINES, see="docs/evaluation.md"))


def _check_stage(name: str, recipe: Recipe) -> None:
    if name not in recipe.stages:
        raise RecipeError(unknown("stage", name, recipe.stages, see="the recipe"))


def untrusted_code(recipe: Recipe, where: Where) -> list[str]:
    """Refuse a recipe that runs Python code of others, unless the command line allows it."""
    found = []
    if recipe.model.trust_remote_code:
        found.append(
            ("model.trust_remote_code", "is true, so Python code that comes with a model would run here")
        )
    found += [
        (key, f"names {plugin.class_path}, so Python code beside this project's would run here")
        for key, plugin in plugins_of(recipe)
    ]
    return [
        f"{place_of(where, key)}: `{key}` {reason} -- a recipe alone cannot allow that -- read that code, and add "
        f"--trust-code to the command"
        for key, reason in found
    ]


def plugins_of(recipe: Recipe) -> list[tuple[str, PluginConfig]]:
    """Keys of the classes that a recipe names by dotted path."""
    plugins = [(f"callbacks[{number}]", plugin) for number, plugin in enumerate(recipe.callbacks)]
    return plugins + ([("logger", recipe.logger)] if recipe.logger else [])


def untrained_tokens(recipe: Recipe, where: Where) -> list[str]:
    """Messages for benchmarks whose prompt needs tokens that no stage trains.

    A published tokenizer may have them; ``pipeline.vocabulary.check_tags`` checks it after loading.
    """
    prompts = [stage.prompt for stage in recipe.stages.values()]
    others = [
        name for name, benchmark in recipe.evaluation.benchmarks.items() if benchmark.prompt not in prompts
    ]
    if not others or recipe.model.tokenizer_source is not None:
        return []
    from audio_lm.prompts.vocabulary import tokens_for  # imports transformers, which takes a second

    known = set(tokens_for(prompts))
    prompt_of = {name: recipe.evaluation.benchmarks[name].prompt for name in others}
    return [
        f"{place_of(where, f'evaluation.benchmarks.{name}.prompt')}: benchmark {name!r} has prompt: {prompt}, whose "
        f"tokens no stage trains -- expected a prompt of the stages ({', '.join(dict.fromkeys(prompts))}) -- set "
        f"evaluation.benchmarks.{name}.prompt to one of them, or train a stage with prompt: {prompt}"
        for name, prompt in prompt_of.items()
        if not known.issuperset(tokens_for([prompt]))
    ]


def paths_outside_roots(recipe: Recipe, where: Where, folder: Path) -> list[str]:
    """Messages for output folders outside the working folder and the recipe's; the command line may name any folder.

    A folder that already contains the data in question (cut-sets, an MLflow store) is accepted anywhere.

    Args:
        folder: folder of the recipe file.
    """
    problems = []
    for key, check in (
        ("data_dir", check_data_dir),
        ("cache_dir", _check_cache_dir),
        ("tracking.uri", _check_store),
    ):
        if place_of(where, key) != COMMAND_LINE:
            try:
                check(recipe, (Path.cwd(), folder.absolute()))
            except UserError as error:
                problems.append(f"{place_of(where, key)}: {error}")
    return problems


def check_data_dir(recipe: Recipe, roots: Sequence[Path]) -> None:
    """Check that a recipe's data folder is below one of ``roots`` or already has its cut-sets.

    Args:
        roots: allowed folders, absolute.

    Raises:
        RecipeError: it is not; names the folder.
    """
    folder = Path(recipe.data_dir)
    if not _is_below(folder, roots) and not _holds_sources(folder, recipe):
        raise RecipeError(
            f"`data_dir` is {recipe.data_dir!r} -- expected a folder below the working folder or the recipe's, without hidden "
            f"ones, or one with cut-sets of the recipe -- set data_dir=... on the command line, or "
            f"prepare its cut-sets there first with `audio-lm prepare`"
        )


def _check_cache_dir(recipe: Recipe, roots: Sequence[Path]) -> None:
    if recipe.cache_dir is not None and not _is_below(Path(recipe.cache_dir), roots):
        raise RecipeError(
            f"`cache_dir` is {recipe.cache_dir!r} -- expected a folder below the working folder or the recipe's, without "
            f"hidden ones -- set cache_dir=... on the command line"
        )


def _check_store(recipe: Recipe, roots: Sequence[Path]) -> None:
    uri = recipe.tracking.uri
    store = None if uri is None else sqlite_path(uri)
    if store is not None and not _is_below(store, roots) and not _is_mlflow_store(store):
        raise RecipeError(
            f"`tracking.uri` is {uri!r} -- expected a file below the working folder or the recipe's, without hidden "
            f"folders, or an existing MLflow store -- set tracking.uri=... on the command line"
        )


def _is_below(path: Path, roots: Sequence[Path]) -> bool:
    """True if a path is below a root, without hidden folders; symbolic links are not resolved."""
    normalized = Path(os.path.normpath(Path.cwd() / path))
    inner_paths = [normalized.relative_to(root) for root in roots if normalized.is_relative_to(root)]
    return any(all(map(is_name, inner.parts)) for inner in inner_paths)


def _holds_sources(folder: Path, recipe: Recipe) -> bool:
    from audio_lm.data.manifest.cuts import has_cut_set

    return any(has_cut_set(folder, source) for source in recipe.sources)


def _is_mlflow_store(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            tables: set[Any] = {name for (name,) in connection.execute("select name from sqlite_master")}
        finally:
            connection.close()
    except sqlite3.Error:
        return False
    return {"experiments", "runs"} <= tables
