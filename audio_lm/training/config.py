"""Who learns, how fast, and on what machine, as it stands in a recipe's stages and ``conf/hardware/``."""

from dataclasses import dataclass
from typing import Literal

from audio_lm.runtime import multiplies_in_bf16


@dataclass(frozen=True)
class PartConfig:
    """A piece of the model that learns at its own rate."""

    lr: float | None = None
    """Learning rate of its topmost layer; null is frozen."""

    layer_decay: float = 1.0
    """Each layer further from the top learns slower by this factor."""

    from_step: int = 0
    """It is frozen before this step."""


@dataclass(frozen=True)
class ScheduleConfig:
    """How the learning rate moves over the steps of a stage."""

    kind: Literal["cosine", "linear", "constant"] = "cosine"
    """Shape after the warm-up."""

    min_lr: float = 0.0
    """Floor of a part whose rate is the stage's highest; the other parts keep the same ratio."""

    warmup_steps: int = 0
    """Steps of linear rise from zero."""


@dataclass(frozen=True)
class OptimizerConfig:
    """The defaults are table 6 of arXiv:2311.07919."""

    kind: Literal["adamw", "muon"] = "adamw"
    """Muon moves hidden matrices, whose every direction it moves equally far, and leaves the rest to AdamW."""

    matrix_factor: float = 1.0
    """What the rate of a matrix that Muon moves is multiplied by."""

    betas: tuple[float, float] = (0.9, 0.98)
    """Decay of the two moments."""

    eps: float = 1e-6
    """Added to the root of the second moment."""

    weight_decay: float = 0.05
    """Decoupled decay of matrices; biases and norms have none."""

    clip: float = 1.0
    """Largest norm of the whole gradient; 0 does not clip."""


@dataclass(frozen=True)
class HardwareConfig:
    """The machine, as it stands in ``conf/hardware/``."""

    accelerator: Literal["cpu", "gpu"] = "cpu"
    """What computes."""

    devices: int = 1
    """Per node."""

    nodes: int = 1
    """How many."""

    precision: Literal["32", "bf16", "auto"] = "32"
    """Of the computation; master weights stay in 32. ``auto`` is bf16 on a GPU or a CPU that multiplies in it, else 32."""

    num_workers: int = 0
    """Data workers per rank; 0 loads in the training process."""

    num_threads: int | None = None
    """Threads of the CPU; null leaves it to torch."""

    @property
    def is_half(self) -> bool:
        """Whether it computes in bf16."""
        can_be = self.accelerator == "gpu" or multiplies_in_bf16()
        return self.precision == "bf16" or (self.precision == "auto" and can_be)
