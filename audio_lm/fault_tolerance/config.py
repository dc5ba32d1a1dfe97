"""Timeouts and restart limits: ``fault_tolerance`` in a recipe."""

from dataclasses import dataclass
from typing import Annotated

from audio_lm.common.audio_units import Seconds
from audio_lm.common.ranges import Count, Range

Timeout = Annotated[Seconds, Range(0, 1e8, is_over=True)]


@dataclass(frozen=True)
class FaultToleranceConfig:
    """Timeouts after which a rank counts as lost, and limits on restarts."""

    frozen_seconds: Timeout = 60.0
    """The watchdog kills a rank that sends no heartbeat, or finishes no step, for this long plus `frozen_steps` steps."""

    frozen_steps: Annotated[float, Range(0, 1e6)] = 3.0
    """Extra time before a rank counts as frozen, in slow steps (99 % of the steps are faster)."""

    first_step_seconds: Timeout = 1800.0
    """Limit of the first steps of a stage, whose duration is unknown; also the longest that ranks wait for each other."""

    building_seconds: Timeout = 3600.0
    """Limit for building or loading the model."""

    loader_seconds: Timeout = 300.0
    """A data worker that needs longer for one step counts as stuck."""

    any_num_nodes: bool = False
    """Continue with as many nodes as torchrun finds (``--nnodes 1:4``); each number must divide the packs."""

    max_restarts: Count = 3
    """Restarts of one launch without a newer checkpoint before the run gives up."""
