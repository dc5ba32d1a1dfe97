"""Extension of a run: another run goes on from its trained state, for more steps or at other rates.

Stages that the extended run has finished with the same settings are copied. The first stage that differs continues from
the newest checkpoint of that run: weights, moments of the optimizer, position in the data. Learning rates are those of
the new recipe at that step. Stages after it are trained anew. The extended run is only read.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from audio_lm.checkpoints.discovery import Checkpoint, find_checkpoint
from audio_lm.checkpoints.process_group import Group
from audio_lm.checkpoints.state import progress_of
from audio_lm.common.errors import CheckpointError, RecipeError, UserError
from audio_lm.common.files import write_json
from audio_lm.config.load import ComposedRecipe, changed_settings, load_kept_recipe
from audio_lm.config.schema import Recipe
from audio_lm.evaluation.config import MAJORITY, UNTRAINED
from audio_lm.evaluation.definitions import read_definitions, save_definition
from audio_lm.evaluation.predict import predictions_path
from audio_lm.evaluation.score import score_key, write_scores
from audio_lm.run.extendable import may_be_extended
from audio_lm.run.folder import STATUS, RunFolder, move_aside
from audio_lm.run.resume import content_fault_of
from audio_lm.run.scores import kept_scores, with_kept_benchmarks
from audio_lm.training.callbacks.checkpoint import NOT_IN_STATUS
from audio_lm.training.callbacks.online_mixing import FILE as ONLINE

MARKER = "extended.json"  # written when the state of the extended run is complete in the new folder
MOST_NAMED = 4
OF_TRACKING = "mlflow_run_id"  # of the extended run's stage; the new run has its own


def is_extended(folder: RunFolder) -> bool:
    """True if the folder of a run has the state of the run that it extends."""
    return (folder.path / MARKER).is_file()


@dataclass(frozen=True)
class Extension:
    """State of a run from which another one goes on."""

    source: RunFolder
    kept: tuple[str, ...]
    """Finished stages, which are copied."""

    stage: str
    """First stage that is trained."""

    checkpoint: Checkpoint | None
    """Checkpoint that the stage continues from; None if it is new."""

    signature: str
    """Signature of the extended run."""

    @property
    def where(self) -> str:
        """The point that training goes on from."""
        if self.checkpoint is None:
            return f"the end of stage {self.kept[-1]!r} of {self.source.path}"
        return f"step {self.checkpoint.step} of stage {self.stage!r} of {self.source.path}"

    @property
    def checkpoints(self) -> dict[str, Checkpoint]:
        """The checkpoint that training goes on from, by stage."""
        return {} if self.checkpoint is None else {self.stage: self.checkpoint}

    def copy_into(self, folder: RunFolder, recipe: Recipe) -> None:
        """Copy the state into the folder of the new run, whose stages have not started; on the first rank."""
        if (stages := folder.path / "stages").exists():
            move_aside(stages)  # of a start that was killed while it copied
        for name in self.kept:
            shutil.copytree(self.source.model(name), folder.model(name))
            write_json(folder.stage(name) / STATUS, _without_tracking(self.source.status(name)))
        if self.checkpoint is not None:
            own = folder.checkpoints(self.stage) / self.checkpoint.path.name
            shutil.copytree(self.checkpoint.path, own)
            progress = {k: v for k, v in progress_of(self.checkpoint).items() if k not in NOT_IN_STATUS}
            status = _without_tracking(progress) | {"checkpoint": own.name, "finished": False}
            write_json(folder.stage(self.stage) / STATUS, status)
            if (decisions := self.source.stage(self.stage) / ONLINE).is_file():
                shutil.copyfile(decisions, folder.stage(self.stage) / ONLINE)
        self._copy_answers(folder, recipe)
        write_json(folder.path / MARKER, self.provenance())

    def provenance(self) -> dict[str, Any]:
        """Origin of the run as plain values."""
        step = None if self.checkpoint is None else self.checkpoint.step
        return {
            "run": str(self.source.path),
            "signature": self.signature,
            "stage": self.stage,
            "step": step,
            "kept": [*self.kept],
        }

    def own_checkpoint(self, folder: RunFolder) -> Checkpoint | None:
        """The copied checkpoint in the folder of the new run."""
        if self.checkpoint is None:
            return None
        return replace(self.checkpoint, path=folder.checkpoints(self.stage) / self.checkpoint.path.name)

    def _copy_answers(self, folder: RunFolder, recipe: Recipe) -> None:
        """Copy answers and scores of the kept stages, and those of the untrained model."""
        scores = kept_scores(with_kept_benchmarks(recipe, self.source), self.source)
        kept: dict[str, float] = {}
        for prefix in ("", UNTRAINED):
            answers, own = self.source.predictions / prefix, folder.predictions / prefix
            for name, entry in read_definitions(answers).items():
                path = predictions_path(answers, name)
                if name not in recipe.evaluation.benchmarks or not path.is_file():
                    continue
                if prefix or entry.benchmark.stage in self.kept:
                    target = predictions_path(own, name)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, target)
                    save_definition(own, name, entry)
                    for baseline in (UNTRAINED,) if prefix else ("", MAJORITY):
                        keys = (score_key(name, metric, baseline) for metric in entry.benchmark.metrics)
                        kept |= {key: scores[key] for key in keys if key in scores}
        if kept:
            write_scores(folder.scores, kept)


def _without_tracking(status: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in status.items() if key != OF_TRACKING}


def find_extension(composed: ComposedRecipe, console: Console) -> Extension:
    """Find the state that a recipe with ``extends`` goes on from; a collective. Nothing is written.

    Raises:
        UserError: there is no such run, it was trained with other settings, or nothing would go on.
    """
    recipe = composed.recipe
    source = RunFolder(Path(recipe.extends or ""))
    if not source.recipe.is_file():
        raise CheckpointError(
            f"extends: {source.path} holds no run (recipe.yaml is missing) -- expected the folder of a run, such as "
            f"runs/demo-1a2b3c4d -- correct --extend"
        )
    before = load_kept_recipe(source.recipe)
    changed = [key for key in changed_settings(before, composed) if key != "extends"]
    _check_fixed(source, [key for key in changed if not key.startswith(("stages.", "corpora."))])
    kept = _kept_stages(before.recipe, recipe, changed, source)
    left = [name for name in recipe.stages if name not in kept]
    if not left:
        last = kept[-1]
        raise RecipeError(
            f"extends: {source.path} has finished all stages with these settings, so nothing goes on -- expected more steps "
            f"or another stage -- raise stages.{last}.steps, which is {recipe.stages[last].steps}"
        )
    checkpoint = _newest(source, left[0], console)
    extension = Extension(source, tuple(kept), left[0], checkpoint, before.signature)
    if checkpoint is not None:
        _check_stage(before.recipe, recipe, extension, checkpoint, changed)
    elif not kept:
        raise CheckpointError(
            f"extends: {source.path} has no checkpoint of stage {left[0]!r}, the first of this recipe, so nothing goes on -- "
            f"expected a run that has trained it -- name another run"
        )
    for name in kept:
        source.check_model(name)
    return extension


def _check_fixed(source: RunFolder, changed: Sequence[str]) -> None:
    if changed:
        raise RecipeError(
            f"extends: {source.path} was trained with another {_named(changed)} -- a run goes on with the same model, seed and "
            f"callbacks -- undo the change, or start from its weights alone with start_from in a stage"
        )


def _kept_stages(before: Recipe, now: Recipe, changed: Sequence[str], source: RunFolder) -> list[str]:
    """Stages from the first one on that are finished with the same settings."""
    kept = []
    for earlier, name in zip(before.stages, now.stages, strict=False):
        is_same = not any(key.startswith(f"stages.{name}.") for key in changed)
        if earlier != name or not is_same or not source.is_finished(name):
            break
        kept.append(name)
    return kept


def _newest(source: RunFolder, stage: str, console: Console) -> Checkpoint | None:
    search = find_checkpoint(source.checkpoints(stage), Group(), content_fault_of)
    for path, fault in search.passed_over:
        console.print(f"{stage}: {path} is skipped, {fault}", soft_wrap=True)
    if search.found is None and search.passed_over:
        raise CheckpointError(
            f"extends: no checkpoint in {source.checkpoints(stage)} is valid -- restore one, or name another run"
        )
    return search.found


def _check_stage(
    before: Recipe, now: Recipe, extension: Extension, checkpoint: Checkpoint, changed: Sequence[str]
) -> None:
    """Check that a stage can go on from a checkpoint of the extended run.

    Raises:
        UserError: it cannot; names settings and steps.
    """
    name, path = extension.stage, extension.source.path
    if (earlier := [*before.stages][: len(extension.kept) + 1]) != [*extension.kept, name]:
        raise RecipeError(
            f"extends: {path} has trained stages {earlier} first, and this recipe {[*extension.kept, name]} -- a stage goes on "
            f"after the same stages -- restore them, or start from weights alone with start_from in a stage"
        )
    own = [key for key in changed if key.startswith(f"stages.{name}.")]
    refused = [key for key in own if not may_be_extended(key, name)]
    trained = [
        [part for part, rate in recipe.stages[name].parts.items() if rate.lr is not None]
        for recipe in (before, now)
    ]
    if trained[0] != trained[1]:
        refused.append(f"parts (trained there: {', '.join(trained[0])}; here: {', '.join(trained[1])})")
    if refused:
        raise RecipeError(
            f"extends: {path} has trained stage {name!r} with another {_named(refused)} -- steps, schedule, rates and the "
            f"optimizer's numbers may change -- undo the change, or start from the weights alone with "
            f"stages.{name}.start_from={path}/stages/{name}"
        )
    if not own:
        raise UserError(
            f"extends: {path} has stopped at step {checkpoint.step} of stage {name!r} and this recipe is the same, so it is a "
            f"resume -- give resume=auto --out {path} instead of --extend, or raise stages.{name}.steps"
        )
    if now.stages[name].steps <= checkpoint.step:
        raise RecipeError(
            f"extends: {path} has trained {checkpoint.step} steps of stage {name!r}, and stages.{name}.steps is "
            f"{now.stages[name].steps} -- expected more -- raise it"
        )


def _named(keys: Sequence[str]) -> str:
    return ", ".join(keys[:MOST_NAMED]) + (", ..." if len(keys) > MOST_NAMED else "")
