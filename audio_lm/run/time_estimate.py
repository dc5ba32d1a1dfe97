"""Time that a run will take, from speeds that were measured before its first step."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from audio_lm.common.audio_units import Seconds
from audio_lm.common.durations import in_words
from audio_lm.config.schema import StageConfig
from audio_lm.run.speed import StageSpeed

LONG_RUN: Seconds = 600.0  # from which a hint names what makes a run shorter


@dataclass(frozen=True)
class EvaluationTimes:
    """Evaluations of a stage."""

    before: Seconds = 0.0
    """Of the model that it starts from."""

    during: Seconds = 0.0
    """Of one round of scores during training."""

    after: Seconds = 0.0
    """Of its benchmarks, and of those that it must not forget."""


@dataclass(frozen=True)
class StageTime:
    """Time of the rest of a stage."""

    name: str
    steps: int
    """Steps that are left."""

    step: Seconds | None
    """None if the stage was not measured."""

    validations: int = 0
    validation: Seconds = 0.0
    copies: Seconds = 0.0
    """Of all checkpoints."""

    evaluation: Seconds = 0.0
    """After the last step."""

    before: Seconds = 0.0
    """Evaluation of the model that the stage starts from."""

    reference: Seconds = 0.0
    """Log-probabilities of pairs under the reference, before the first step."""

    scores: Seconds = 0.0
    """Of all rounds during training."""

    setup: Seconds = 0.0
    """Start of the data workers and the trainer."""

    @property
    def training(self) -> Seconds:
        """From the first step to the last, and what has to be computed before; 0 if the stage was not measured."""
        if self.step is None:
            return 0.0
        steps = self.steps * self.step + self.validations * self.validation
        return self.setup + self.reference + steps + self.scores + self.copies

    @property
    def words(self) -> str:
        """Steps and their time, validations."""
        if self.step is None:
            return f"{self.name} {self.steps} steps (not measured)"
        text = f"{self.name} {self.steps} steps at {self.step:.2g} s"
        if self.validations:
            number = "a validation" if self.validations == 1 else f"{self.validations} validations"
            text += f" and {number} of {in_words(self.validation)}"
        if self.reference:
            text += f" after {in_words(self.reference)} for the reference"
        return text


@dataclass(frozen=True)
class RunTime:
    """Time of the rest of a run."""

    stages: Sequence[StageTime] = field(default_factory=tuple)
    untrained: Seconds = 0.0
    """Evaluation of the untrained model."""

    began: float = field(default_factory=time.monotonic)
    """Moment that the time counts from."""

    @property
    def is_measured(self) -> bool:
        """True if the time of a stage is known."""
        return any(stage.step is not None for stage in self.stages)

    @property
    def evaluation(self) -> Seconds:
        """All evaluations."""
        return self.untrained + sum(stage.before + stage.evaluation for stage in self.stages)

    @property
    def total(self) -> Seconds:
        """Everything that was measured."""
        return self.evaluation + sum(stage.training for stage in self.stages)

    def after_training(self, name: str) -> Seconds | None:
        """Time from the last step of a stage to the end of the run; None if a later stage was not measured."""
        names = [stage.name for stage in self.stages]
        if name not in names:
            return None
        later = self.stages[names.index(name) :]
        if any(stage.step is None for stage in later[1:]):
            return None
        return sum(stage.evaluation for stage in later) + sum(
            stage.before + stage.training for stage in later[1:]
        )

    def as_table(self) -> dict[str, float]:
        """Seconds of each measured stage, of evaluation and of everything."""
        stages = {stage.name: stage.training for stage in self.stages if stage.step is not None}
        return {**stages, "evaluation": self.evaluation, "total": self.total}

    def report(self) -> list[str]:
        """The time that the run took, beside the estimate; empty if nothing was measured."""
        if not self.is_measured:
            return []
        return [f"took {in_words(time.monotonic() - self.began)}; {in_words(self.total)} was estimated"]

    def lines(self) -> list[str]:
        """Total with its parts, and for a long run what makes it shorter; empty if nothing was measured."""
        if not self.is_measured:
            return []
        parts = [stage.words for stage in self.stages if stage.steps]
        if self.evaluation:
            parts.append(f"evaluation {in_words(self.evaluation)}")
        lines = [f"about {in_words(self.total)} from here: {', '.join(parts)}"]
        longest = max(self.stages, key=lambda stage: stage.training)
        if self.total > LONG_RUN:
            lines.append(
                f"{100 * longest.training / self.total:.0f} % of it are steps of {longest.name!r}; lower "
                f"stages.{longest.name}.steps or stages.{longest.name}.pack_tokens, or choose a smaller model, to shorten it"
            )
        return lines


def time_of_stage(
    name: str,
    stage: StageConfig,
    done: int,
    speed: StageSpeed | None,
    evaluations: EvaluationTimes = EvaluationTimes(),
) -> StageTime:
    """Time of a stage from a step on.

    Args:
        done: steps that are trained already.
        speed: None if it was not measured.
    """
    left = max(0, stage.steps - done)
    before = 0.0 if done else evaluations.before
    if speed is None:
        return StageTime(name, left, None, evaluation=evaluations.after, before=before)
    validations = _occurrences(stage.validate_every or stage.steps, done, stage.steps)
    copies = max(1, _occurrences(stage.checkpoint_every, done, stage.steps))
    rounds = _occurrences(stage.score_every, done, stage.steps) if stage.score_every else 0
    return StageTime(
        name,
        left,
        speed.step,
        validations if speed.validation else 0,
        speed.validation,
        copies * speed.copy,
        evaluations.after,
        before,
        0.0 if done else speed.reference,
        rounds * evaluations.during,
        speed.setup,
    )


def _occurrences(every: int, done: int, steps: int) -> int:
    """Multiples of an interval after a step, up to the last one."""
    return steps // every - done // every
