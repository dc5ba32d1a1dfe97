"""One command trains all stages of a recipe, judges the model and prints the table.

Everything that can be wrong with a recipe or its data is found before the run
folder exists. A run that was stopped goes on from its last checkpoint.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from audio_lm.checkpoints.config import CheckpointConfig
from audio_lm.checkpoints.discovery import Checkpoint
from audio_lm.common.files import sealed_text
from audio_lm.common.runtime import is_main, key_of, num_cores, world_size
from audio_lm.config.load import Composed
from audio_lm.config.schema import AUTO, Recipe, StageConfig
from audio_lm.data.audio.fingerprints import digests_of
from audio_lm.data.mixture.schedule import Cursor
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.weights.parts import save_model
from audio_lm.pipeline.benchmark_data import check_benchmarks
from audio_lm.pipeline.corpora import prepare_corpora
from audio_lm.pipeline.data import build_data
from audio_lm.pipeline.model import build_audio_lm, rates_of
from audio_lm.pipeline.plan_stage import StagePlan, StageSources, compile_stage, manifests_of, plan_stage
from audio_lm.pipeline.trainer import build_trainer, check_ranks
from audio_lm.pipeline.vocabulary import build_vocabulary, check_tags
from audio_lm.prompts.tokenizer import save_tokenizer
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.run.console import run_console
from audio_lm.run.evaluate import Evaluator
from audio_lm.run.folder import (
    RunFolder,
    check_resumable,
    check_writable,
    folder_for,
    kept_tokens,
    move_aside,
    note_on_others,
    open_folder,
    stages_to_run,
)
from audio_lm.run.process_groups import ProcessGroups
from audio_lm.run.resume import (
    ResumePoint,
    audio_of,
    environment_of,
    find_resume_points,
    keep_declared,
    order_of,
    refusing,
    resolve_resume,
    settings_of_run,
)
from audio_lm.run.session import PreemptedError, Survival, adopt_world_size, force_resume_on_restart
from audio_lm.run.stage_model import StageModels, first_weights
from audio_lm.tracking.event_log.journal import Writing
from audio_lm.tracking.event_log.record import Record
from audio_lm.tracking.run import RecipeRun, open_recipe_run
from audio_lm.training.callbacks.bad_audio import BadAudioMonitor
from audio_lm.training.callbacks.checkpoint import StageCheckpoint
from audio_lm.training.callbacks.mixture_monitor import MixtureMonitor
from audio_lm.training.callbacks.preemption import HeartbeatCallback, PreemptionCallback
from audio_lm.training.callbacks.progress import ProgressLine, Throughput
from audio_lm.training.optimizers import is_without_effect
from audio_lm.training.param_groups import Rate


@dataclass(frozen=True)
class Prepared:
    """A recipe whose data, vocabulary, model and parts fit together."""

    composed: Composed
    folder: RunFolder
    stages: list[str]
    sources: Mapping[str, StageSources]
    plans: Mapping[str, StagePlan]
    going_on: Mapping[str, ResumePoint]
    """Stages that were begun before, and how they go on."""

    vocabulary: Vocabulary
    model: AudioLM
    """Or its outline."""

    rates: Mapping[str, Mapping[str, Rate | None]]

    @property
    def recipe(self) -> Recipe:
        """What is carried out."""
        return self.composed.recipe


def train(composed: Composed, *, out: Path | None = None, console: Console | None = None) -> RunFolder:
    """Carry a recipe out.

    Args:
        out: the run's folder, instead of ``runs/<name>-<signature>``.

    Raises:
        UserError: something about the recipe, its data or its checkpoints is wrong.
        KeyboardInterrupt: it was stopped by Ctrl-C; a checkpoint was written.
        RunEndedError: it was told to stop, with a checkpoint, or is not to be begun again.
    """
    console = console or run_console()
    composed = adopt_world_size(composed)
    check_ranks(composed.recipe)
    folder = folder_for(composed, out)
    composed = force_resume_on_restart(composed, folder.path)
    recipe, notes = composed.recipe, note_on_others(composed, folder, out)
    with (
        Survival(folder.path, recipe.fault_tolerance) as survival,
        ProcessGroups(recipe.hardware.accelerator, recipe.fault_tolerance.first_step_seconds) as ranks,
    ):
        return _carry_out(composed, folder, Start(survival, ranks, console, notes))


@dataclass(frozen=True)
class Start:
    """What every stage of one start shares."""

    survival: Survival
    ranks: ProcessGroups
    console: Console
    notes: Sequence[str] = ()
    """For the console, before anything else."""


def _carry_out(composed: Composed, folder: RunFolder, start: Start) -> RunFolder:
    survival, ranks, console = start.survival, start.ranks, start.console
    check_writable(folder)
    for note in (*composed.notes, *survival.notes(), *start.notes):
        console.print(note, soft_wrap=True)
    with refusing():
        check_resumable(folder, composed)
    checkpoints = find_resume_points(composed, folder, console)
    with ranks.main_first():
        prepared = _prepare(composed, folder, checkpoints, start)
    ranks.wait()  # nobody reads any more what the first rank changes now
    if is_main():
        open_folder(folder, composed, prepared.vocabulary.tokens)
        survival.begin(folder.progress(composed.recipe))
        if composed.recipe.model.tokenizer_source is None:
            save_tokenizer(prepared.vocabulary.tokenizer, folder.tokenizer)
    ranks.wait()
    survival.open()
    survival.wait(ranks)
    recipe = composed.recipe
    with open_recipe_run(
        recipe.tracking,
        name=recipe.name,
        folder=folder.path.absolute(),
        recipe_yaml=sealed_text(composed.text),
        params=asdict(recipe),
        resume=recipe.is_resumed,
        writing=survival.lease.writing,
    ) as run:
        console.print(f"run folder {folder.path}; curves: {run.where}")
        run.log_inputs(manifests_of(recipe))
        first = prepared.vocabulary, prepared.model, prepared.rates
        models = StageModels(recipe, *first, wait=ranks.wait, building=survival.building)
        ranks.include(models.mesh)
        agreed = ranks.agreed if models.is_shared else int
        until_stopped = partial(survival.until_stopped, agreed=agreed)
        evaluator = Evaluator(
            recipe,
            folder,
            prepared.vocabulary,
            run,
            console,
            until_stopped=until_stopped,
            asked=models.asked,
            may_write=survival.lease.check,
        )
        with _judging(models, survival, ranks):
            evaluator.untrained(lambda: models.begin(prepared.stages[0], None), prepared.stages)
        for name in prepared.stages:
            _train_stage(prepared, models, name, run, start)
            with _judging(models, survival, ranks):
                due = evaluator.due(name)
                if due or not folder.status(name).get("judged"):
                    evaluator.stage(models.model, name, due)
                    run.end_stage(name)
                    survival.check_ours(int)
                    folder.mark_evaluated(name)
        evaluator.finish()
    return folder


@contextmanager
def _judging(models: StageModels, survival: Survival, ranks: ProcessGroups) -> Iterator[None]:
    """What the first rank does, with all cores, while the others wait, or all do where they share the model.

    Left when any of them is told to stop.
    """
    before = torch.get_num_threads()
    is_alone = world_size() > 1 and is_main() and not models.is_shared
    torch.set_num_threads(max(before, num_cores()) if is_alone else before)
    with suppress(PreemptedError), survival.heartbeat.within("evaluation"):
        yield
    torch.set_num_threads(before)
    survival.wait(ranks)


def _prepare(
    composed: Composed, folder: RunFolder, checkpoints: Mapping[str, Checkpoint], start: Start
) -> Prepared:
    recipe, console = composed.recipe, start.console
    stages = stages_to_run(recipe, folder)
    prepare_corpora(recipe, console.print)
    began = time.monotonic()
    sources = {name: compile_stage(recipe, stage) for name, stage in recipe.stages.items()}
    check_benchmarks(recipe)
    is_same_run = bool(recipe.is_resumed or recipe.only)
    kept = (folder.kept_tokenizer(), kept_tokens(folder)) if is_same_run else (None, None)
    vocabulary = build_vocabulary(recipe, sources, kept[0], tokens=kept[1])
    check_tags(recipe, vocabulary)
    plans = {
        name: plan_stage(recipe, stage, sources[name], vocabulary) for name, stage in recipe.stages.items()
    }
    with refusing():
        going_on = {
            name: resolve_resume(composed, name, plans[name], checkpoint, folder.status(name), vocabulary)
            for name, checkpoint in checkpoints.items()
            if name in stages
        }
    with start.survival.building():
        model = build_audio_lm(recipe, vocabulary, on_meta=recipe.hardware.sharding != "none")
    rates = rates_of(recipe, model)
    for name in stages:
        if is_without_effect(model, rates[name], recipe.stages[name].optimizer):
            console.print(
                f"{name}: optimizer.kind=muon has no effect, for no hidden matrix learns; AdamW moves everything"
            )
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    num_rows = sum(leaf.num_rows for planned in plans.values() for leaf in planned.leaves)
    console.print(
        f"{num_rows} training examples planned, vocabulary of {len(vocabulary)}, model of {num_parameters / 1e6:.2f} M "
        f"parameters, in {time.monotonic() - began:.0f} s"
    )
    return Prepared(composed, folder, stages, sources, plans, going_on, vocabulary, model, rates)


def _train_stage(prepared: Prepared, models: StageModels, name: str, run: RecipeRun, start: Start) -> None:
    """Train one stage to its end, or take its weights when it has ended before."""
    survival, console = start.survival, start.console
    recipe, folder = prepared.recipe, prepared.folder
    stage = recipe.stages[name]
    if recipe.is_resumed and folder.is_finished(name):
        console.print(f"{name}: finished before, {stage.steps} steps")
        models.begin(name, folder.model(name))
        return
    weights = first_weights(recipe, folder, name, is_shared=models.is_shared, agreed=start.ranks.agreed)
    model = models.begin(name, weights)
    begin = _begin(prepared, name, console)
    planned = begin.planned
    data = build_data(recipe, name, planned, prepared.sources[name], prepared.vocabulary, cursor=begin.cursor)
    # Killed before its first checkpoint, a stage begins again with the same values, and in the same run.
    is_known = begin.checkpoint is not None or recipe.resume == AUTO
    logger = run.stage(name, params=asdict(stage), resume=is_known)
    logger.log_text(json.dumps(order_of(planned, begin.declared), indent=1), "mixture/order.json")
    shares = _shares(planned, folder.stage(name), begin.status)
    quarantine = _quarantine(recipe, stage, folder.stage(name), begin.status, survival.lease.writing)
    keep = _checkpoints(
        prepared,
        name,
        begin,
        start,
        cursor_behind=data.sampler.cursor_behind,
        counts=lambda: {**shares.counts(), **quarantine.counts()},
        known_late=lambda: {"mlflow_run_id": logger.run_id},
        may_rename=partial(_sync_if_ours, survival, logger, run),
    )
    stop = PreemptionCallback(
        keep, start.ranks.agreed, is_lost=lambda: survival.is_lost, lost=lambda: survival.lease.lost
    )
    pulse = HeartbeatCallback(
        survival.heartbeat,
        name,
        steps=stage.steps,
        note_error=survival.note_error,
        hurry=start.ranks.hurry,
    )
    throughput = Throughput(budget=stage.pack_tokens * stage.packs_per_step // recipe.hardware.num_learners)
    progress = ProgressLine(name, steps=stage.steps, throughput=throughput, console=console)
    callbacks = [pulse, quarantine, shares, throughput, progress, keep, stop]
    trainer = build_trainer(
        recipe, stage, folder.stage(name), logger=logger, callbacks=callbacks, mesh=models.mesh
    )
    module = models.module(name, folder.stage(name))
    trainer.fit(module, datamodule=data)
    if stop.note and trainer.global_step < stage.steps:
        survival.leave(*stop.told)
    survival.check_ours(start.ranks.agreed)
    shares.save()
    logger.log_table(shares.rows(), "mixture/shares.json")
    save_model(model, folder.model(name))
    folder.mark_finished(name, stage.steps)


def _sync_if_ours(survival: Survival, *records: Record) -> None:
    """Before a checkpoint takes its place: curves are on the disk with it.

    Raises:
        UserError: a newer start has the run folder.
    """
    survival.lease.check()
    for record in records:
        record.sync()


def _begin(prepared: Prepared, name: str, console: Console) -> ResumePoint:
    """Where a stage begins, written down before anything of it is heard."""
    folder = prepared.folder
    if name in prepared.going_on:
        begin = prepared.going_on[name]
        console.print(begin.said, soft_wrap=True)
        if is_main():
            keep_declared(folder.stage(name), folder.status(name), begin.planned, begin.declared)
        return begin
    if is_main() and folder.checkpoints(name).exists():
        move_aside(folder.checkpoints(name))
    planned = prepared.plans[name]
    return ResumePoint(None, {}, planned, Cursor(), [], "", digests_of(audio_of(planned.loaded)))


def _checkpoints(
    prepared: Prepared, name: str, begin: ResumePoint, start: Start, **how: Any
) -> StageCheckpoint:
    """What writes the checkpoints of a stage; ``how`` goes on to it."""
    stage = prepared.recipe.stages[name]
    return StageCheckpoint(
        prepared.folder.stage(name),
        steps=stage.steps,
        every=stage.checkpoint_every,
        begin=begin.checkpoint,
        during=start.survival.saving,
        report=start.console.print,
        **_told(prepared, name, begin),
        **_keeping(stage.checkpoints),
        **how,
    )


def _told(prepared: Prepared, name: str, begin: ResumePoint) -> dict[str, Any]:
    """What a stage's checkpoints say of it: in manifests for everybody, and in full for who goes on."""
    known = {"stage": name}
    digests = {
        "recipe": prepared.composed.signature,
        "plan": f"{key_of(json.dumps(begin.planned.fingerprint, sort_keys=True)):016x}",
        "environment": environment_of(prepared.recipe),
    }
    order = order_of(begin.planned, begin.declared)
    settings = {"settings": settings_of_run(prepared.composed), "audio": dict(begin.audio)}
    return {"facts": known | digests, "progress": known | order | settings}


def _keeping(config: CheckpointConfig) -> dict[str, Any]:
    keep = {"keep_last": config.keep_last, "keep_best": config.keep_best, "pin_every": config.pin_every}
    return {"is_asynchronous": config.asynchronous, "every_seconds": 60 * config.every_minutes, "keep": keep}


def _quarantine(
    recipe: Recipe, stage: StageConfig, folder: Path, before: Mapping[str, Any], writing: Writing
) -> BadAudioMonitor:
    return BadAudioMonitor(
        folder,
        max_bad_fraction=stage.max_bad_fraction,
        tensor_parallel=recipe.hardware.tensor_parallel,
        before=before,
        writing=writing,
    )


def _shares(planned: StagePlan, folder: Path, before: Mapping[str, Any]) -> MixtureMonitor:
    leaves = [(leaf.task, leaf.source) for leaf in planned.leaves]
    expected = planned.expected_clips
    return MixtureMonitor(
        folder,
        planned={leaf: count / sum(expected) for leaf, count in zip(leaves, expected, strict=True)},
        num_rows={(leaf.task, leaf.source): leaf.num_rows for leaf in planned.leaves},
        before=before,
    )
