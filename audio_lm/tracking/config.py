"""Settings of MLflow tracking."""

from dataclasses import dataclass, field
from typing import Annotated

from audio_lm.common.ranges import Range


@dataclass(frozen=True)
class TrackingConfig:
    """MLflow store; ``MLFLOW_TRACKING_URI`` overrides ``uri``."""

    uri: str | None = None
    """Tracking URI; null: ``sqlite:///<working directory>/mlflow.db`` with artifacts in ``mlartifacts/``."""

    experiment: str | None = None
    """Experiment; null: the name of the recipe."""

    num_listening_clips: Annotated[int, Range(0, 10_000)] = 4
    """Clips per task in the audio report."""

    params: dict[str, str] = field(default_factory=dict)
    """Further parameters of the run in MLflow, such as the name of a trial."""
