"""Path of the shares of a stage that adapts them to the losses of its tasks.

The shares of a window are decided a fixed number of steps before its first step (``lead_steps``), from the losses up to
there. Data workers read ahead by fewer steps, so the order of examples depends on the losses alone: not on the number of
workers, and not on when a run was stopped. Decided windows are segments of the schedule, which checkpoints store.

Shapes: S sources.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from audio_lm.common.errors import RecipeError
from audio_lm.common.rng import key_of
from audio_lm.data.config import MixtureConfig, OnlineConfig, TemperatureConfig
from audio_lm.data.mixture.bandit import ShareBandit, apportion
from audio_lm.data.mixture.schedule import PackSchedule, Segment, expected_examples
from audio_lm.data.mixture.segments import SegmentHistory
from audio_lm.data.mixture.weights import MixtureSource, clip_shares, max_examples, task_shares


@dataclass(frozen=True)
class Decision:
    """Shares of the tasks in a window, with the losses they follow from."""

    step: int
    """Step after which the shares were decided."""

    from_step: int
    """First step that they apply to, counted from 0."""

    window: int
    losses: Mapping[str, float]
    """Task -> loss per learned token since the decision before, as logged."""

    rewards: Mapping[str, float]
    """Task -> smoothed reward after these losses."""

    shares: Mapping[str, float]
    """Task -> share in the unit of the weights."""

    def as_json(self) -> dict[str, Any]:
        """Convert to a line of the path's file."""
        return asdict(self)

    def metrics(self) -> dict[str, float]:
        """Curves of the decision."""
        return {f"online_share/{task}": share for task, share in self.shares.items()} | {
            f"online_loss/{task}": loss for task, loss in self.losses.items()
        }


class OnlinePath:
    """Decides the shares of one window after another, and extends the schedule by it.

    Args:
        config: of the stage's mixture, with ``online``.
        sources: of the mixture (S), in the order of the schedule.
        history: of the plan, as far as it is decided.
        steps: of the stage.
    """

    def __init__(
        self,
        config: MixtureConfig,
        sources: Sequence[MixtureSource],
        schedule: PackSchedule,
        history: SegmentHistory,
        *,
        steps: int,
    ) -> None:
        assert config.online is not None, "a mixture without `online` has no path"
        self.online: OnlineConfig = config.online
        self.sources = list(sources)
        self.schedule = schedule
        self.history = history
        self.steps = steps
        self.initial = task_shares(config, config.weights, config.drawn_tasks)
        self.bandit = ShareBandit(self.online, self.initial)
        # Decided shares are those of the whole mixture, so nothing above the sources of a task acts on them again.
        self.within_tasks = replace(
            config,
            groups={},
            group_weights={},
            temperature=TemperatureConfig(sources=config.temperature.sources),
        )
        self.caps = [max_examples(config, source) for source in sources]
        first = clip_shares(self.within_tasks, sources, weights=self.initial)
        self.drawn = [source for source, share in enumerate(first) if share > 0]
        self.owed = [0.0] * len(sources)
        self.window, self.from_step = 0, 0
        self.in_force: list[tuple[int, dict[str, float]]] = [(0, self.initial)]  # first step, shares
        self.schedule.num_decided = None
        while self.next_step < 1:
            self._advance()
        self.schedule.num_decided = self.window

    @property
    def next_step(self) -> int:
        """Step after which the next window is decided."""
        return self.from_step - self.online.lead_steps

    def _advance(self) -> None:
        """Go to the next window; its first step follows from the packs of the one before."""
        self.from_step += len(self.schedule.steps_of(self.window))
        self.window += 1

    def decide(self, losses: Mapping[str, float]) -> Decision:
        """Decide the next window after step ``next_step``.

        Args:
            losses: task -> loss per learned token since the decision before, rounded as it is logged.

        Raises:
            RecipeError: every source has reached its cap.
        """
        step, from_step, window = self.next_step, self.from_step, self.window
        self.bandit.observe(losses, self._shares_at(step))
        is_adapted = step >= self.online.warmup_steps
        shares = self.bandit.shares(step) if is_adapted else dict(self.initial)
        self.schedule.set_window(window, self._counts(shares))
        self.in_force.append((from_step, shares))
        self._advance()
        return Decision(step, from_step, window, dict(losses), dict(self.bandit.rewards), shares)

    def _shares_at(self, step: int) -> dict[str, float]:
        """Shares of the window that the last step before a decision was in; earlier ones are forgotten."""
        while len(self.in_force) > 1 and self.in_force[1][0] < step:
            del self.in_force[0]
        return self.in_force[0][1]

    def _counts(self, shares: Mapping[str, float]) -> list[int]:
        """Number of draws of each source in the next window (S); sources at their cap leave theirs to the others.

        Raises:
            RecipeError: every source has reached its cap before the window, and the stage goes on.
        """
        left = self._left()
        closed, fixed = {source for source in self.drawn if left[source] == 0}, [0] * len(self.sources)
        if len(closed) == len(self.drawn) and self.from_step < self.steps:
            raise RecipeError(
                f"mixture: every source has reached max_epochs at step {self.from_step} of {self.steps}; raise it, or "
                f"take fewer steps, and start the stage again"
            )
        while True:
            if len(closed) == len(self.drawn):  # in the window with the last step: no step needs the rest
                closed, left = set(), [None for _ in left]
            of_source = clip_shares(self.within_tasks, self.sources, weights=shares, closed=closed)
            counts, owed = apportion(of_source, self.schedule.window - sum(fixed), self.owed)
            over = {
                source: most
                for source, most in enumerate(left)
                if most is not None and source not in closed and counts[source] > most
            }
            if not over:
                self.owed = owed
                return [count + known for count, known in zip(counts, fixed, strict=True)]
            for source, most in over.items():
                fixed[source] = most
            closed |= over.keys()

    def _left(self) -> list[int | None]:
        """Draws of each source before its cap (S); None without a cap."""
        draws = expected_examples(self.schedule.segments, self.window * self.schedule.window)
        return [
            None if cap is None else max(0, cap - drawn) for cap, drawn in zip(self.caps, draws, strict=True)
        ]

    def plan(self) -> dict[str, Any]:
        """The order of examples with all decided windows, as checkpoints store it."""
        return replace(self.history, segments=tuple(self.schedule.segments)).as_json()

    def state(self) -> dict[str, Any]:
        """Plain values, beside ``plan``, from which the path continues."""
        return {
            "window": self.window,
            "from_step": self.from_step,
            "owed": list(self.owed),
            "in_force": [[step, dict(shares)] for step, shares in self.in_force],
            "rewards": dict(self.bandit.rewards),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from the values of ``state``; the schedule has the segments of ``plan``."""
        self.window, self.from_step = state["window"], state["from_step"]
        self.owed = list(state["owed"])
        self.in_force = [(step, dict(shares)) for step, shares in state["in_force"]]
        self.bandit.rewards = dict(state["rewards"])
        self.schedule.num_decided = self.window


def rules_in_fingerprint(config: MixtureConfig) -> str:
    """Text of the rules that the path follows, for a plan's fingerprint; empty where the mixture adapts no shares."""
    if config.online is None:
        return ""
    return str(key_of(repr(config.online), repr(sorted(config.max_epochs.items()))))


def known_segments(config: MixtureConfig, segments: Sequence[Segment]) -> Sequence[Segment]:
    """Segments that follow from the recipe alone: all, or the first one if the losses decide the later ones."""
    return segments if config.online is None else segments[:1]
