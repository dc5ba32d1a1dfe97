"""Scores of a stage's benchmarks during its training, on a fixed subset of their clips.

The answers and metrics are those of the evaluation at the end of the stage. The packs of prompts are the same for any number of
ranks, each rank answers some of them, and nothing that training uses changes.
"""

import time
from dataclasses import replace
from typing import Any, Protocol

from lightning import Callback, LightningModule, Trainer

from audio_lm.common.audio_units import Seconds
from audio_lm.common.durations import in_words
from audio_lm.common.env import is_main, rank, world_size
from audio_lm.config.schema import Recipe, StageConfig
from audio_lm.evaluation.answer_log import Answer
from audio_lm.evaluation.score import score_benchmark
from audio_lm.pipeline.benchmark_jobs import MAIN, BenchmarkJobs
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.run.answering import answer_pack, predictions_of
from audio_lm.run.session import RunSession
from audio_lm.run.stage_model import StageModels
from audio_lm.tracking.run import RunLogger
from audio_lm.training.distributed import all_gather_object


class Scorer(Protocol):
    """Scores the present weights; a collective."""

    def scores(self) -> dict[str, float] | None:
        """Values of the curves by name, on the first rank; None if a signal to stop arrived before the last answer."""


class SubsetScorer:
    """Answers and scores a fixed subset of the clips of each benchmark of a stage.

    Args:
        stage: name of the stage.
    """

    def __init__(
        self, recipe: Recipe, stage: str, vocabulary: Vocabulary, *, models: StageModels, session: RunSession
    ) -> None:
        self.recipe = recipe
        self.vocabulary = vocabulary
        self.models = models
        self.session = session
        self.num_clips = recipe.stages[stage].score_clips
        self.benchmarks = {
            name: benchmark
            for name, benchmark in recipe.evaluation.benchmarks.items()
            if benchmark.stage == stage
        }
        self._jobs: dict[str, BenchmarkJobs] = {}

    def scores(self) -> dict[str, float] | None:
        """See ``Scorer``; curves are named ``score_<metric>/<benchmark>``."""
        answered: dict[str, dict[str, Answer]] = {}
        is_complete = True
        with self.models.generating():
            for name in self.benchmarks:
                own = self._answers(self._jobs_of(name))
                is_complete = is_complete and own is not None
                answered[name] = own or {}
        gathered = [(answered, is_complete)] if self._is_alone else all_gather_object((answered, is_complete))
        if not all(complete for _, complete in gathered):
            return None
        if not is_main():
            return {}
        curves: dict[str, float] = {}
        for name, benchmark in self.benchmarks.items():
            answer_of = {key: answer for answers, _ in gathered for key, answer in answers[name].items()}
            predictions = predictions_of(self._jobs_of(name).questions[MAIN], answer_of)
            values = score_benchmark(predictions, benchmark.metrics)
            curves |= {f"score_{metric}/{name}": value for metric, value in values.items()}
        return curves

    @property
    def _is_alone(self) -> bool:
        """True if this rank has all answers: the only one, or one of a sharded model, which all ranks run together."""
        return world_size() == 1 or self.models.is_sharded

    def _jobs_of(self, name: str) -> BenchmarkJobs:
        if name not in self._jobs:
            benchmark = replace(self.benchmarks[name], controls=[])
            self._jobs[name] = BenchmarkJobs(self.recipe, benchmark, self.vocabulary, self.num_clips)
        return self._jobs[name]

    def _answers(self, jobs: BenchmarkJobs) -> dict[str, Answer] | None:
        """Answers to this rank's packs; None if a signal to stop arrived."""
        answers: dict[str, Answer] = {}
        for keys in self._packs(jobs):
            is_stopping = self.session.is_stopping() or self.session.is_lost
            if self.session.agree(int(is_stopping)) if self.models.is_sharded else is_stopping:
                return None
            self.session.heartbeat.tick()
            answers |= answer_pack(self.models.model, jobs, keys)
        return answers

    def _packs(self, jobs: BenchmarkJobs) -> list[list[str]]:
        """Packs of this rank."""
        return jobs.packs if self._is_alone else jobs.packs[rank() :: world_size()]


class ScoresDuringTraining(Callback):
    """Scores every ``score_every`` steps, and more rarely where that takes more than ``score_max_share`` of the time.

    The clock of the first rank decides for all. The first scores are always computed; later ones wait until all of them
    together are within the share.

    Args:
        name: of the stage.
        scorer: of the present weights.
    """

    def __init__(
        self, name: str, config: StageConfig, scorer: Scorer, *, logger: RunLogger, session: RunSession
    ) -> None:
        self.name = name
        self.config = config
        self.scorer = scorer
        self.logger = logger
        self.session = session
        self.began = self.spent = self.last = 0.0
        self.times = self.postponed = 0

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.began = time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        step = trainer.global_step
        if step % self.config.score_every or not self._is_due():
            return
        session, limit = self.session, self.session.config.first_step_seconds
        start = time.monotonic()
        session.limit_collectives(limit)  # ranks wait for the one with most packs
        with session.heartbeat.within("scores", limit):
            curves = self.scorer.scores()
        session.limit_collectives(session.heartbeat.patience)
        self.last = time.monotonic() - start
        self.spent += self.last
        self.times += 1
        if curves and is_main():
            self.logger.log_metrics(curves | {"score_time/share": self.share}, step=step)

    @property
    def trained(self) -> Seconds:
        """Time of the stage without scores."""
        return max(1e-9, time.monotonic() - self.began - self.spent)

    @property
    def share(self) -> float:
        """Time of all scores over that of training."""
        return self.spent / self.trained

    def _is_due(self) -> bool:
        """Decide with the clock of the first rank; a collective."""
        allowed = self.config.score_max_share * self.trained
        is_due = not self.times or self.spent + self.last <= allowed
        is_due = bool(self.session.agree(int(is_due and is_main())))
        if not is_due:
            self.postponed += 1
            if self.postponed == 1:
                most = f"{100 * self.config.score_max_share:g} %"
                self.session.print(
                    f"{self.name}: scores take {in_words(self.last)}, over {most} of the time of "
                    f"score_every={self.config.score_every} steps, so some are left out; raise it, or lower score_clips"
                )
        return is_due

    def sentence(self) -> str:
        """Number of scores, and the share of the time that they took."""
        left_out = f", {self.postponed} left out" if self.postponed else ""
        return f"{self.name}: scored {self.times} times during training{left_out}, in {100 * self.share:.1f} % of its time"
