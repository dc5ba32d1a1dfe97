"""One stage of a run, from its data order to its scores."""

import json
import logging
from dataclasses import asdict
from typing import Any

from lightning import Callback, Trainer

from audio_lm.common.rng import key_of
from audio_lm.config.schema import AUTO
from audio_lm.data.datamodule import MixtureDataModule
from audio_lm.data.mixture.online import OnlinePath
from audio_lm.evaluation.config import BASE
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.weights.parts import save_model
from audio_lm.pipeline.data import build_data
from audio_lm.pipeline.plugins import build_callbacks, build_loggers
from audio_lm.pipeline.trainer import build_trainer
from audio_lm.run.evaluator import Evaluator
from audio_lm.run.exactness import environment_of
from audio_lm.run.facts import realised_shares
from audio_lm.run.guard import GuardEvaluator
from audio_lm.run.prepare import Prepared
from audio_lm.run.reference import reference_table
from audio_lm.run.resume import ResumePoint, order_of, settings_of_run
from audio_lm.run.run_log import param_groups
from audio_lm.run.scores_during_training import ScoresDuringTraining, SubsetScorer
from audio_lm.run.session import RunSession
from audio_lm.run.stage_model import StageModels
from audio_lm.run.start import RunStart
from audio_lm.run.time_estimate import RunTime
from audio_lm.run.time_ledger import LedgerCallback
from audio_lm.tracking.run import RunLogger
from audio_lm.training.callbacks.bad_audio import BadAudioMonitor
from audio_lm.training.callbacks.checkpoint import StageCheckpoint
from audio_lm.training.callbacks.mixture_monitor import MixtureMonitor
from audio_lm.training.callbacks.online_mixing import OnlineMixing
from audio_lm.training.callbacks.preemption import HeartbeatCallback, PreemptionCallback
from audio_lm.training.callbacks.progress import ProgressLine, Throughput

log = logging.getLogger(__name__)


class StageRunner:
    """Trains and evaluates one stage.

    Args:
        name: of the stage.
    """

    def __init__(
        self,
        name: str,
        session: RunSession,
        start: RunStart,
        prepared: Prepared,
        models: StageModels,
        evaluator: Evaluator,
        times: RunTime,
    ) -> None:
        self.name = name
        self.session = session
        self.start = start
        self.prepared = prepared
        self.models = models
        self.evaluator = evaluator
        self.times = times
        self.recipe = start.recipe
        self.config = start.recipe.stages[name]
        self.folder = start.folder
        self.guard = GuardEvaluator(self.recipe, prepared.vocabulary, evaluator)

    def run(self) -> None:
        """Train the stage unless an earlier start finished it, then evaluate it."""
        if self.start.is_finished(self.name):
            self.session.print(f"{self.name}: finished before, {self.config.steps} steps")
            self.models.load(self.name, self.folder.model(self.name))
        else:
            self.train()
        self.evaluate()

    def train(self) -> None:
        """Train the stage to its last step.

        Raises:
            KeyboardInterrupt: Ctrl-C stopped it; a checkpoint is written.
            RunEndedError: another signal stopped it; a checkpoint is written.
        """
        name, session = self.name, self.session
        weights = self.start.first_weights(name, session, is_sharded=self.models.is_sharded)
        model = self.models.load(name, weights)
        self.evaluate_base(model)
        point = self.start.begin_stage(name, self.prepared.plans[name], session)
        data = build_data(
            self.recipe,
            name,
            point.planned,
            self.prepared.sources[name],
            self.prepared.vocabulary,
            cursor=point.cursor,
        )
        logger = self.open_logger(point)
        mixture = self.mixture_monitor(point)
        checkpoint = self.checkpoint(point, data)
        online = self.online_mixing(point, checkpoint)
        preemption = PreemptionCallback(checkpoint, session)
        # The order matters: counts first, then the checkpoint that holds them, then the stop.
        monitors = [*self.monitors(mixture), *online]
        scores = self.scores_during_training(logger)
        ledger = LedgerCallback(self.session.ledger, every=self.config.checkpoint_every)
        callbacks = [*monitors, *build_callbacks(self.recipe), checkpoint, ledger, *scores, preemption]
        trainer = build_trainer(
            self.recipe,
            self.config,
            self.folder.stage(name),
            loggers=[logger, *build_loggers(self.recipe)],
            callbacks=callbacks,
            mesh=self.models.mesh,
        )
        for line in param_groups(model, self.prepared.rates[name]):
            log.info("%s: %s", name, line)
        if self.config.dpo_loss is not None:
            data.packs.references = reference_table(
                model, self.recipe, name, data, point, folder=self.folder.stage(name), session=session
            )
        trainer.fit(self.models.module(name, self.folder.stage(name)), datamodule=data)
        self._leave_if_stopped(trainer, preemption)
        for callback in scores:
            self.session.print(callback.sentence())
        mixture.save()
        logger.log_table(mixture.rows(), "mixture/shares.json")
        for each in online:
            logger.log_text(each.text(), f"mixture/{each.file.name}")
        if session.tracking is not None:
            session.tracking.log_shares(name, realised_shares(mixture.rows()))
        save_model(model, self.folder.model(name))
        self.folder.mark_finished(name, self.config.steps)

    def evaluate_base(self, model: AudioLM) -> None:
        """Evaluate the model that the stage starts from, where the recipe compares with it."""
        with self.session.evaluating(is_collective=self.models.is_sharded):
            self.evaluator.evaluate_base(model, self.name)
            if self.name == self.start.stages[0]:
                self.guard.evaluate(model, BASE)

    def _leave_if_stopped(self, trainer: Trainer, preemption: PreemptionCallback) -> None:
        if preemption.code and trainer.global_step < self.config.steps:
            self.session.leave(*preemption.received)
        self.session.check_lease(is_collective=True)

    def open_logger(self, point: ResumePoint) -> RunLogger:
        """Tracking run of the stage, with the data order as its first artifact."""
        assert self.session.tracking is not None, "the session tracks before it trains"
        # Killed before its first checkpoint, a stage starts again with the same values, in the same tracking run.
        is_known = point.checkpoint is not None or self.recipe.resume == AUTO
        logger = self.session.tracking.stage(self.name, params=asdict(self.config), resume=is_known)
        order = order_of(point.planned, point.declared_segments)
        logger.log_text(json.dumps(order, indent=1), "mixture/order.json")
        return logger

    def mixture_monitor(self, point: ResumePoint) -> MixtureMonitor:
        """Monitor of the realised mixture."""
        sources = [(source.task, source.source) for source in point.planned.leaves]
        # The plan of adapted shares grows during the stage; that of the recipe is the same in every start.
        planned = self.prepared.plans[self.name] if self.config.mixture.online else point.planned
        expected = planned.expected_clips
        return MixtureMonitor(
            self.folder.stage(self.name),
            planned={source: count / sum(expected) for source, count in zip(sources, expected, strict=True)},
            num_rows={(source.task, source.source): source.num_rows for source in point.planned.leaves},
        )

    def online_mixing(self, point: ResumePoint, checkpoint: StageCheckpoint) -> list[OnlineMixing]:
        """Callback that adapts the shares of the stage; empty where the recipe sets them."""
        if self.config.mixture.online is None:
            return []
        planned = point.planned
        path = OnlinePath(
            self.config.mixture, planned.leaves, planned.plan, planned.history, steps=self.config.steps
        )
        return [
            OnlineMixing(
                path,
                self.folder.stage(self.name),
                progress=checkpoint.progress,
                tensor_parallel=self.recipe.hardware.tensor_parallel,
                guard=self.session,
            )
        ]

    def scores_during_training(self, logger: RunLogger) -> list[ScoresDuringTraining]:
        """Callback that scores the stage's benchmarks every few steps; empty where the recipe sets no interval."""
        if not self.config.score_every:
            return []
        scorer = SubsetScorer(
            self.recipe, self.name, self.prepared.vocabulary, models=self.models, session=self.session
        )
        if not scorer.benchmarks:
            self.session.print(
                f"{self.name}: score_every={self.config.score_every} has no effect, because no benchmark is of this stage"
            )
            return []
        return [ScoresDuringTraining(self.name, self.config, scorer, logger=logger, session=self.session)]

    def monitors(self, mixture: MixtureMonitor) -> list[Callback]:
        """Heartbeat, bad audio, mixture, throughput and progress."""
        hardware, stage, session = self.recipe.hardware, self.config, self.session
        bad_audio = BadAudioMonitor(
            self.folder.stage(self.name),
            max_bad_fraction=stage.max_bad_fraction,
            tensor_parallel=hardware.tensor_parallel,
            guard=session,
        )
        heartbeat = HeartbeatCallback(session.heartbeat, self.name, steps=stage.steps, guard=session)
        throughput = Throughput(
            budget=stage.pack_tokens * stage.packs_per_step // hardware.num_data_parallel_ranks
        )
        progress = ProgressLine(
            self.name,
            steps=stage.steps,
            throughput=throughput,
            console=session.console,
            after=self.times.after_training(self.name),
        )
        return [heartbeat, bad_audio, mixture, throughput, progress]

    def checkpoint(self, point: ResumePoint, data: MixtureDataModule) -> StageCheckpoint:
        """Writer of the stage's checkpoints; their manifests identify the run, their values let it resume."""
        known: dict[str, Any] = {"stage": self.name}
        composed, stage = self.start.composed, self.config
        plan = f"{key_of(json.dumps(point.planned.fingerprint, sort_keys=True)):016x}"
        facts = {"recipe": composed.signature, "plan": plan, "environment": environment_of(self.recipe)}
        settings = {"settings": settings_of_run(composed), "audio": dict(point.audio)}
        return StageCheckpoint(
            self.folder.stage(self.name),
            steps=stage.steps,
            every=stage.checkpoint_every,
            cursor_behind=data.sampler.cursor_behind,
            config=stage.checkpoints,
            facts=known | facts,
            progress=known | order_of(point.planned, point.declared_segments) | settings,
            resume_from=point.checkpoint,
            guard=self.session,
        )

    def evaluate(self) -> None:
        """Evaluate the benchmarks of the stage that have no answers, or whose definition has changed."""
        with self.session.evaluating(is_collective=self.models.is_sharded):
            due = self.evaluator.due(self.name)
            is_new = bool(due) or not self.folder.is_evaluated(self.name)
            if is_new:
                self.evaluator.evaluate_stage(self.models.model, self.name, due)
            self.guard.evaluate(self.models.model, self.name)
            if self.session.tracking is not None:
                self.session.tracking.log_metrics(self.evaluator.scores)
                self.session.tracking.end_stage(self.name)
            if is_new:
                self.session.check_lease()
                self.folder.mark_evaluated(self.name)
