"""Who learns, how fast, and on what machine, as it stands in a recipe's stages and ``conf/hardware/``."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from audio_lm.common.errors import RecipeError, unknown
from audio_lm.common.ranges import Count, Decay, Factor, Range, Size
from audio_lm.common.runtime import multiplies_in_bf16

LearningRate = Annotated[float, Range(0, 1e30)]

LAYERED = ("encoder", "language_model")
"""Parts that have layers."""


@dataclass(frozen=True)
class PartConfig:
    """A piece of the model that learns at its own rate."""

    lr: LearningRate | None = None
    """Learning rate of its topmost layer; null is frozen."""

    layer_decay: Factor = 1.0
    """Each layer further from the top learns slower by this factor."""

    from_step: Count = 0
    """It is frozen before this step."""


@dataclass(frozen=True)
class ScheduleConfig:
    """How the learning rate moves over the steps of a stage."""

    kind: Literal["cosine", "linear", "constant"] = "cosine"
    """Shape after the warm-up."""

    min_lr: LearningRate = 0.0
    """Floor of a part whose rate is the stage's highest; the other parts keep the same ratio."""

    warmup_steps: Count = 0
    """Steps of linear rise from zero."""


@dataclass(frozen=True)
class OptimizerConfig:
    """The defaults are table 6 of arXiv:2311.07919."""

    kind: Literal["adamw", "muon"] = "adamw"
    """Muon moves hidden matrices, whose every direction it moves equally far, and leaves the rest to AdamW."""

    matrix_factor: Factor = 1.0
    """What the rate of a matrix that Muon moves is multiplied by."""

    betas: tuple[Decay, Decay] = (0.9, 0.98)
    """Decay of the two moments."""

    eps: Annotated[float, Range(0, 1)] = 1e-6
    """Added to the root of the second moment."""

    weight_decay: Annotated[float, Range(0, 1000)] = 0.05
    """Decoupled decay of matrices; biases and norms have none."""

    clip: Annotated[float, Range(0, 1e9)] = 1.0
    """Largest norm of the whole gradient; 0 does not clip."""

    max_nonfinite: Size = 3
    """A step whose gradient is not finite is left out; after so many in a row the run stops and keeps their packs."""

    def __post_init__(self) -> None:
        """Refuse a factor that nobody reads.

        Raises:
            RecipeError: says what to do.
        """
        if self.kind == "adamw" and self.matrix_factor != 1.0:
            raise RecipeError(
                f"optimizer.matrix_factor is {self.matrix_factor:g} and optimizer.kind is adamw, which has no rate of its own "
                f"for matrices; leave it out or set it to 1, or choose kind: muon"
            )


@dataclass(frozen=True)
class PluginConfig:
    """A class named by its dotted path, as in Lightning's own configuration files."""

    class_path: str
    """Such as ``lightning.pytorch.callbacks.LearningRateMonitor``, or ``my_module.MyCallback`` of the working folder."""

    init_args: dict[str, Any] = field(default_factory=dict)
    """Arguments of its constructor."""


@dataclass(frozen=True)
class HardwareConfig:
    """The machine, as it stands in ``conf/hardware/``."""

    accelerator: Literal["cpu", "gpu"] = "cpu"
    """What computes."""

    devices: Annotated[int, Range(1, 1024)] = 1
    """Per node."""

    nodes: Annotated[int, Range(1, 100_000)] = 1
    """How many."""

    precision: Literal["32", "bf16", "auto"] = "32"
    """Of the computation; master weights stay in 32. ``auto`` is bf16 on a GPU or a CPU that multiplies in it, else 32."""

    num_workers: Annotated[int, Range(0, 1024)] = 0
    """Data workers per rank; 0 loads in the training process."""

    num_threads: Annotated[int, Range(1, 4096)] | None = None
    """Threads of the CPU; null leaves it to torch."""

    sharding: Literal["none", "fsdp", "hsdp"] = "none"
    """What learns is whole on every rank, shared out over all ranks, or shared out in a node and copied across nodes."""

    frozen: Literal["replicated", "sharded"] = "replicated"
    """Whether frozen parts are whole on every rank, which sends nothing, or shared out like the others, which saves memory."""

    tensor_parallel: Annotated[int, Range(1, 1024)] = 1
    """Neighbouring ranks that compute each layer of the language model together, on the same packs."""

    compile: bool = False
    """Compile each layer, once for all lengths; the first steps are slow."""

    activation_checkpointing: list[str] = field(default_factory=list)
    """Parts whose layers are computed again in the backward pass instead of being remembered."""

    cpu_offload: bool = False
    """What is shared out lies in the CPU's memory between its uses, the optimizer too; slow, and refused where the CPU
    computes, for there it lies anyway."""

    def __post_init__(self) -> None:
        """Refuse settings that do not fit together or would do nothing.

        Raises:
            RecipeError: names the first of them.
        """
        num_ranks, shares = self.devices * self.nodes, self.sharding != "none"
        if shares and num_ranks == 1:
            raise RecipeError(
                f"hardware.sharding is {self.sharding} and there is one rank; set it to none, or devices to 2 or more"
            )
        if self.sharding == "hsdp" and self.nodes == 1:
            raise RecipeError(
                "hardware.sharding=hsdp copies across nodes and hardware.nodes is 1; set it to fsdp"
            )
        if wants := [name for name in ("frozen", "tensor_parallel", "cpu_offload") if self._is_set(name)]:
            self._check_sharing(wants)
        if strange := sorted(set(self.activation_checkpointing) - set(LAYERED)):
            raise RecipeError(
                unknown("part of layers", strange[0], LAYERED, see="hardware.activation_checkpointing")
            )

    def _is_set(self, name: str) -> bool:
        return bool(getattr(self, name) != getattr(type(self), name))

    def _check_sharing(self, wants: list[str]) -> None:
        if self.sharding == "none":
            raise RecipeError(
                f"hardware.{wants[0]} does nothing with sharding: none; set sharding to fsdp or hsdp"
            )
        if self.tensor_parallel < 1 or self.devices % self.tensor_parallel:
            raise RecipeError(
                f"hardware.tensor_parallel is {self.tensor_parallel} and a node has {self.devices} devices, which it has to "
                f"divide; choose another"
            )
        if self.cpu_offload and self.accelerator == "cpu":
            raise RecipeError(
                "hardware.cpu_offload spares the memory of GPUs and hardware.accelerator is cpu, so it would do nothing; "
                "set it to false"
            )

    @property
    def num_data_parallel_ranks(self) -> int:
        """Ranks that hear packs of their own."""
        return self.devices * self.nodes // self.tensor_parallel

    @property
    def num_shards(self) -> int:
        """Ranks over which one copy of what learns is shared out."""
        return {"none": 1, "fsdp": self.devices * self.nodes, "hsdp": self.devices}[self.sharding]

    @property
    def is_half(self) -> bool:
        """Whether it computes in bf16."""
        can_be = self.accelerator == "gpu" or multiplies_in_bf16()
        return self.precision == "bf16" or (self.precision == "auto" and can_be)
