"""Facts of a run for its pages in MLflow, from its recipe, its plans and its folder."""

import shlex
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from audio_lm.common.files import read_table
from audio_lm.common.safe_yaml import COMMAND_LINE
from audio_lm.common.secrets import MASK, mask_secrets
from audio_lm.config.load import ComposedRecipe
from audio_lm.config.result_keys import affects_result
from audio_lm.config.schema import AUTO, Recipe
from audio_lm.config.short_keys import ShortKeys
from audio_lm.config.yaml_layers import flatten
from audio_lm.model.config import ModelConfig
from audio_lm.pipeline.plan_stage import StagePlan
from audio_lm.run.folder import RunFolder
from audio_lm.tracking.event_log.provenance import mask_argument
from audio_lm.tracking.facts import RunFacts, StageFacts, TaskFacts
from audio_lm.training.callbacks.mixture_monitor import FILE as MIXTURE

SCRIPT = "train.py"
MAX_VALUE_LENGTH = 24
ALSO_NAMED = ("use.", "evaluation.")  # they change scores, though they are not among the settings of training


def facts_of_run(composed: ComposedRecipe, folder: RunFolder, plans: Mapping[str, StagePlan]) -> RunFacts:
    """Collect the facts of a run; of stages that earlier starts have trained, with the realised shares."""
    recipe = composed.recipe
    path = shlex.quote(str(folder.path.absolute()))
    given = dict(settings_that_differ(composed))
    weights = {key: value for key, value in given.items() if _is_weight(recipe, key)}
    # In a name, the stage of a weight is left out where it is given for one stage: pages of MLflow cut long names.
    short_weight = ShortKeys(weights)
    short = ShortKeys(key for key, _ in flatten(composed.tree))
    others = {short[key]: value for key, value in given.items() if key not in weights}
    model, steps = (
        mask_secrets(_model(recipe.model)),
        " > ".join(f"{name} {s.steps}" for name, s in recipe.stages.items()),
    )
    return RunFacts(
        recipe=recipe.name,
        settings={short_weight[key]: value for key, value in weights.items()} | others,
        params={"model": model, "steps of stages": steps, **others, **recipe.tracking.params},
        stages=tuple(_stage(recipe, name, folder, plans[name]) for name in recipe.stages),
        published=recipe.published,
        folder=str(folder.path.absolute()),
        words=(f"model {model}", f"steps {steps}"),
        commands={
            **({"After an interruption": command} if (command := command_to_resume(sys.argv)) else {}),
            "Table of scores": f"audio-lm report {path}",
        },
    )


def settings_that_differ(composed: ComposedRecipe) -> Iterator[tuple[str, str]]:
    """Yield the settings that the command line gave and that results depend on: dotted key, and a short value.

    Settings whose value is masked are left out.
    """
    for key, value in flatten(composed.tree):
        is_named = affects_result(key) or key.startswith(ALSO_NAMED)
        if composed.where.get(key) == COMMAND_LINE and is_named and MASK not in str(value):
            yield key, _short_value(value)


def command_to_resume(arguments: Sequence[str]) -> str:
    """Command that continues a run after this one has stopped, secrets masked; empty where Python code started it.

    The recipe in the run's folder would not do: pieces that ``use`` names are merged over it again.

    >>> command_to_resume(["/usr/bin/audio-lm", "train", "demo", "resume=never", "seed=1"])
    'audio-lm train demo seed=1 resume=auto'
    """
    program, *rest = arguments
    is_script = Path(program).name == SCRIPT
    if not is_script and rest[:1] not in (["train"], ["demo"]):
        return ""
    kept = [mask_argument(argument) for argument in rest if not argument.startswith("resume=")]
    return shlex.join([*(["python", SCRIPT] if is_script else ["audio-lm"]), *kept, f"resume={AUTO}"])


def realised_shares(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Realised share of each task, from the rows of ``mixture.json``, which has one per source."""
    share_of_task: dict[str, float] = defaultdict(float)
    for row in rows:
        share_of_task[row["task"]] += row["realised_share"]
    return dict(share_of_task)


def _stage(recipe: Recipe, name: str, folder: RunFolder, planned: StagePlan) -> StageFacts:
    stage = recipe.stages[name]
    clips: dict[str, float] = defaultdict(float)
    for leaf, count in zip(planned.leaves, planned.expected_clips, strict=True):
        clips[leaf.task] += count
    total = sum(clips.values()) or 1.0
    realised = realised_shares(read_table(folder.stage(name) / MIXTURE).get("leaves", []))
    return StageFacts(
        name=name,
        steps=stage.steps,
        tasks=tuple(
            TaskFacts(task, float(weight), clips[task] / total, realised.get(task))
            for task, weight in stage.mixture.weights.items()
        ),
        benchmarks={
            key: each.task for key, each in recipe.evaluation.benchmarks.items() if each.stage == name
        },
    )


def _is_weight(recipe: Recipe, key: str) -> bool:
    return any(
        key == f"stages.{name}.mixture.weights.{task}"
        for name, stage in recipe.stages.items()
        for task in stage.mixture.weights
    )


def _model(model: ModelConfig) -> str:
    """Model in a few words: names of what is loaded, else kinds and sizes."""
    if model.load:
        return model.load
    encoder, language_model = model.encoder, model.language_model
    width = language_model.settings.get("hidden_size", "")
    return " + ".join(
        (
            encoder.load or f"{encoder.kind} {encoder.num_layers}x{encoder.width}",
            language_model.load or f"{language_model.architecture} {width}".strip(),
        )
    )


def _short_value(value: object) -> str:
    """Value in few characters, as one would type it."""
    if isinstance(value, bool) or value is None:
        text = {True: "true", False: "false", None: "null"}[value]
    else:
        text = f"{value:g}" if isinstance(value, float) else str(value)
    half = MAX_VALUE_LENGTH // 2 - 2
    return text if len(text) <= MAX_VALUE_LENGTH else f"{text[:half]}...{text[-half:]}"
