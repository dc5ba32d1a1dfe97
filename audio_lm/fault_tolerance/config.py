"""How patient a run is, as it stands in a recipe's ``survival``."""

from dataclasses import dataclass
from typing import Annotated

from audio_lm.common.audio_units import Seconds
from audio_lm.common.ranges import Count, Range

Patience = Annotated[Seconds, Range(0, 1e8, is_over=True)]


@dataclass(frozen=True)
class FaultToleranceConfig:
    """When a rank counts as lost, and how often a run may begin again."""

    frozen_seconds: Patience = 60.0
    """A rank that shows no life, or ends no step, for this and `frozen_steps` steps is ended by its watchdog."""

    frozen_steps: Annotated[float, Range(0, 1e6)] = 3.0
    """How many of the slowest steps (99 % are faster) are waited for as well."""

    first_step_seconds: Patience = 1800.0
    """For a first step, of which nobody knows how long it takes; also the most that ranks wait for each other."""

    building_seconds: Patience = 3600.0
    """For making or loading the model."""

    loader_seconds: Patience = 300.0
    """A data worker may take for one step before it counts as stuck."""

    any_num_nodes: bool = False
    """Go on with as many nodes as torchrun finds (``--nnodes 1:4``); each number must divide the packs."""

    max_restarts: Count = 3
    """Restarts of one launch without a newer checkpoint before it is given up."""
