"""Where a run is written down."""

from dataclasses import dataclass
from typing import Annotated

from audio_lm.common.ranges import Range


@dataclass(frozen=True)
class TrackingConfig:
    """The MLflow store; ``MLFLOW_TRACKING_URI`` overrides ``uri``."""

    uri: str | None = None
    """None is ``sqlite:///<working directory>/mlflow.db`` with artifacts in ``mlartifacts/``."""

    experiment: str | None = None
    """None is the recipe's name."""

    num_listening_clips: Annotated[int, Range(0, 10_000)] = 4
    """Clips per task in the listening report."""
