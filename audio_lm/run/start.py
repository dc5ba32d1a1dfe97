"""The decision whether a start of a run may proceed, and from where each of its stages continues.

``RunStart`` decides in two steps: from the folder alone, before corpora are prepared; and, once the data order of every
stage is known, by comparing it with that of the checkpoints. Nothing is written before both have passed.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from audio_lm.checkpoints.discovery import Checkpoint
from audio_lm.common.env import is_main, world_size
from audio_lm.common.errors import CheckpointError
from audio_lm.config.load import ComposedRecipe
from audio_lm.config.schema import AUTO, Recipe
from audio_lm.data.audio.fingerprints import digests_of
from audio_lm.data.mixture.schedule import Cursor
from audio_lm.fault_tolerance.exit_status import read_exit_reason
from audio_lm.fault_tolerance.launcher_env import current_launch
from audio_lm.fault_tolerance.lease import launch_before
from audio_lm.pipeline.plan_stage import StagePlan
from audio_lm.pipeline.trainer import check_ranks
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.run.extension import Extension, find_extension, is_extended
from audio_lm.run.folder import (
    RunFolder,
    check_resumable,
    check_writable,
    folder_for,
    kept_tokens,
    move_aside,
    open_folder,
    stages_to_run,
)
from audio_lm.run.nearest import note_on_nearest
from audio_lm.run.open import kept_vocabulary, open_run
from audio_lm.run.resume import (
    ResumePoint,
    audio_states,
    find_resume_points,
    refusal_prefix,
    resolve_resume,
    save_declared_segments,
)
from audio_lm.run.session import RunSession
from audio_lm.run.start_weights import StartWeights, check_first, find_start_weights


class RunStart:
    """Stages to train in this start, and the checkpoints they continue from.

    Args:
        out: the run's folder, instead of ``runs/<name>-<signature>``.

    Raises:
        RecipeError: the number of ranks does not fit the recipe.
    """

    def __init__(self, composed: ComposedRecipe, out: Path | None = None) -> None:
        composed = adopt_world_size(composed)
        check_ranks(composed.recipe)
        self.folder = folder_for(composed, out)
        self.composed = force_resume_on_restart(composed, self.folder.path)
        self.is_restart = is_restart(self.folder.path)
        self.notes = [*self.composed.notes, *note_on_nearest(self.composed, self.folder, out)]
        self.stages: list[str] = []
        self.checkpoints: Mapping[str, Checkpoint] = {}
        self.resume_points: Mapping[str, ResumePoint] = {}
        self.extension: Extension | None = None
        self.start_weights: StartWeights | None = None

    @property
    def recipe(self) -> Recipe:
        """The recipe to train."""
        return self.composed.recipe

    @property
    def state_folder(self) -> RunFolder:
        """Folder that has the state of this run until ``open_folder``: its own, or that of the run it extends."""
        return self.folder if self.extension is None else self.extension.source

    @property
    def continues(self) -> bool:
        """True if stages continue from a folder."""
        return self.recipe.is_resumed or self.extension is not None

    def find_checkpoints(self, session: RunSession) -> None:
        """Find the checkpoints to resume from: the first step, from the folder alone; a collective.

        Raises:
            UserError: the folder cannot be written, holds a run of another recipe, or has no valid checkpoint.
        """
        check_writable(self.folder)
        for note in (*session.notes(), *self.notes):
            session.print(note)
        with refusal_prefix():
            check_resumable(self.folder, self.composed)
        if self.recipe.extends and not (self.recipe.is_resumed and is_extended(self.folder)):
            with refusal_prefix():
                self.extension = find_extension(self.composed, session.console)
            session.print(f"goes on from {self.extension.where}")
            self.checkpoints = self.extension.checkpoints
        else:
            self.checkpoints = find_resume_points(self.composed, self.folder, session.console)

    def choose_stages(self) -> list[str]:
        """Stages of this start, in order.

        Raises:
            RecipeError: ``only`` names a stage that the recipe does not have.
            CheckpointError: the stage before the first one has no weights, or those that it names cannot be used.
        """
        self.stages = stages_to_run(self.recipe, self.state_folder)
        check_first(self.recipe.stages, self.stages)
        first = self.stages[0]
        if not self.is_finished(first):
            self.start_weights = find_start_weights(first, self.recipe.stages[first])
        return self.stages

    def resolve(self, plans: Mapping[str, StagePlan], vocabulary: Vocabulary) -> None:
        """Compare the data order of each stage with that of its checkpoint: the second step.

        Raises:
            CheckpointError: a checkpoint is of another stage or recipe.
            DataError: other clips would follow than were planned or declared.
        """
        with refusal_prefix():
            self.resume_points = {
                name: resolve_resume(
                    self.composed, name, plans[name], checkpoint, self.state_folder.status(name), vocabulary
                )
                for name, checkpoint in self.checkpoints.items()
                if name in self.stages
            }

    def kept_vocabulary(self) -> tuple[Path | None, list[str] | None]:
        """Tokenizer and added tokens that the run already has; None where they are built again."""
        run = self.state_folder if self.continues or self.recipe.only else None
        tokens = kept_tokens(run) if run is not None else None
        if tokens is None and self.start_weights is not None:
            run = self.start_weights.run
            tokens = kept_tokens(run)
        return (None, None) if run is None else (run.kept_tokenizer(), tokens)

    def check_start_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Check that the weights of another run that the first stage starts from have the same vocabulary.

        Raises:
            RecipeError: they have another one.
        """
        if self.start_weights is not None:
            theirs = open_run(self.start_weights.run.path, trusts_code=True)
            self.start_weights.check_vocabulary(self.recipe, vocabulary, kept_vocabulary(*theirs))

    def open_folder(self, vocabulary: Vocabulary) -> None:
        """Create the run folder, or open the one to resume; on the first rank."""
        open_folder(self.folder, self.composed, vocabulary.tokens)

    def origin(self) -> dict[str, str]:
        """Tags of the tracking run that name the run whose state or weights this one goes on from."""
        if self.extension is not None:
            return {"extends": self.extension.where}
        if self.start_weights is not None:
            return {"start_from": str(self.start_weights.run.stage(self.start_weights.stage))}
        return {}

    def copy_extended(self) -> None:
        """Copy the state of the run that this one extends; on the first rank, which has the lease."""
        if self.extension is not None:
            self.extension.copy_into(self.folder, self.recipe)

    def is_finished(self, stage: str) -> bool:
        """True when an earlier start has trained a stage to its end, and this one continues the run."""
        if self.extension is not None:
            return stage in self.extension.kept
        return self.recipe.is_resumed and self.folder.is_finished(stage)

    def first_weights(self, stage: str, session: RunSession, *, is_sharded: bool) -> Path | None:
        """Folder of the weights that a stage starts from; None where the model has them; a collective.

        Args:
            is_sharded: the model is sharded, and every stage loads its weights from files.

        Raises:
            CheckpointError: they are not those that the stage before has written; names the file.
        """
        names = list(self.recipe.stages)
        before = names[: names.index(stage)]
        if self.recipe.stages[stage].start_from is not None:
            return None  # ``prepare`` has loaded them
        if not before or not (self.recipe.only or self.continues or is_sharded):
            return None
        fault = self.folder.model_fault(before[-1]) if is_main() else None
        if session.agree(int(fault is not None)):
            self.folder.check_model(before[-1])
            raise CheckpointError(
                f"{self.folder.model(before[-1])}: the first rank reads other bytes than were written"
            )
        return self.folder.model(before[-1])

    def begin_stage(self, stage: str, planned: StagePlan, session: RunSession) -> ResumePoint:
        """Return the point that a stage continues from, saved before any of its data is read."""
        folder = self.folder
        if stage in self.resume_points:
            point = self.resume_points[stage]
            if self.extension is not None:
                point = replace(point, checkpoint=self.extension.own_checkpoint(folder))
            session.print(point.message)
            if is_main():
                save_declared_segments(
                    folder.stage(stage), folder.status(stage), point.planned, point.declared_segments
                )
            return point
        if is_main() and folder.checkpoints(stage).exists():
            move_aside(folder.checkpoints(stage))
        return ResumePoint(None, {}, planned, Cursor(), [], "", digests_of(audio_states(planned.loaded)))


def force_resume_on_restart(composed: ComposedRecipe, folder: Path) -> ComposedRecipe:
    """Set ``resume`` to ``auto`` when a launcher restarts the processes of its launch."""
    if composed.recipe.is_resumed or not is_restart(folder):
        return composed
    return replace(composed, recipe=replace(composed.recipe, resume=AUTO))


def is_restart(folder: Path) -> bool:
    """True if a launcher restarts the processes of its launch."""
    launch, reason = current_launch(), read_exit_reason(folder)
    is_over = reason is not None and bool(reason.launch)
    return bool(launch.id) and launch_before(folder) == launch.id and not is_over


def adopt_world_size(composed: ComposedRecipe) -> ComposedRecipe:
    """Set the number of nodes to what torchrun found, where the recipe accepts any."""
    recipe, launch = composed.recipe, current_launch()
    nodes, rest = divmod(world_size(), recipe.hardware.devices)
    if not (recipe.fault_tolerance.any_num_nodes and launch.is_elastic) or rest:
        return composed
    return replace(composed, recipe=replace(recipe, hardware=replace(recipe.hardware, nodes=nodes)))
