"""Training settings of a recipe: parts, schedule and optimizer of a stage, plugins, and ``hardware``."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from audio_lm.common.cpu import has_bf16_instructions
from audio_lm.common.errors import RecipeError, unknown
from audio_lm.common.ranges import Count, Decay, Factor, Range, Size

LearningRate = Annotated[float, Range(0, 1e30)]

LAYERED = ("encoder", "language_model")
"""Parts with layers, which can be checkpointed (activation checkpointing)."""


@dataclass(frozen=True)
class PartConfig:
    """Learning rate of a part of the model."""

    lr: LearningRate | None = None
    """Peak learning rate of the top layer; null freezes the part."""

    layer_decay: Factor = 1.0
    """Factor of the learning rate from each layer to the layer below it."""

    from_step: Count = 0
    """First step that trains the part; it is frozen before."""


@dataclass(frozen=True)
class ScheduleConfig:
    """Learning-rate schedule over the steps of a stage."""

    kind: Literal["cosine", "linear", "constant"] = "cosine"
    """Shape of the decay after the warm-up."""

    min_lr: LearningRate = 0.0
    """Final learning rate of the part with the highest rate; the other parts decay by the same ratio."""

    warmup_steps: Count = 0
    """Steps of linear warm-up from zero."""


@dataclass(frozen=True)
class OptimizerConfig:
    """Optimizer of a stage, gradient clipping and skipped steps.

    Source: the defaults are table 6 of arXiv:2311.07919.
    """

    kind: Literal["adamw", "muon"] = "adamw"
    """``muon`` updates the matrices of hidden layers with Muon and all other parameters with AdamW."""

    matrix_factor: Factor = 1.0
    """Factor of the learning rate of matrices that Muon updates."""

    betas: tuple[Decay, Decay] = (0.9, 0.98)
    """Decay rates of AdamW's two moments."""

    eps: Annotated[float, Range(0, 1)] = 1e-6
    """Added to the root of AdamW's second moment."""

    weight_decay: Annotated[float, Range(0, 1000)] = 0.05
    """Decoupled weight decay of matrices; biases and norms have none."""

    clip: Annotated[float, Range(0, 1e9)] = 1.0
    """Maximum norm of the gradient of all parameters; 0 disables clipping."""

    max_nonfinite: Size = 3
    """Steps in a row with a gradient that is not finite, after which the run stops; fewer are skipped."""

    def __post_init__(self) -> None:
        """Refuse a ``matrix_factor`` without effect.

        Raises:
            RecipeError: ``kind`` is adamw and the factor is not 1.
        """
        if self.kind == "adamw" and self.matrix_factor != 1.0:
            raise RecipeError(
                f"optimizer.matrix_factor is {self.matrix_factor:g} and optimizer.kind is adamw, which has no separate "
                f"rate for matrices; leave it out or set it to 1, or choose kind: muon"
            )


@dataclass(frozen=True)
class PluginConfig:
    """A class named by its dotted path, as in Lightning's own configuration files."""

    class_path: str
    """``lightning.pytorch.callbacks.LearningRateMonitor``, or ``my_module.MyCallback`` in the working folder."""

    init_args: dict[str, Annotated[Any, Range(-1e12, 1e12)]] = field(default_factory=dict)
    """Arguments of its constructor."""


@dataclass(frozen=True)
class HardwareConfig:
    """Machine and parallelism of a run, as in ``conf/hardware/``."""

    accelerator: Literal["cpu", "gpu"] = "cpu"
    """Device type."""

    devices: Annotated[int, Range(1, 1024)] = 1
    """Devices per node; one rank each."""

    nodes: Annotated[int, Range(1, 100_000)] = 1
    """Number of nodes."""

    precision: Literal["32", "bf16", "auto"] = "32"
    """Precision of the computation; master weights are float32. ``auto``: bf16 if GPU or CPU multiplies in it, else 32."""

    num_workers: Annotated[int, Range(0, 1024)] = 0
    """Dataloader workers per rank; 0 loads in the training process."""

    num_threads: Annotated[int, Range(1, 4096)] | None = None
    """CPU threads of torch per rank; null keeps torch's default."""

    sharding: Literal["none", "fsdp", "hsdp"] = "none"
    """Trained parameters: replicated, sharded over all ranks, or sharded in a node and replicated across nodes."""

    frozen: Literal["replicated", "sharded"] = "replicated"
    """Frozen parts: replicated, without communication, or sharded like trained ones, which saves memory."""

    tensor_parallel: Annotated[int, Range(1, 1024)] = 1
    """Number of adjacent ranks that compute each layer of the language model together, on the same packs."""

    compile: bool = False
    """Compile each layer with dynamic lengths; the first steps are slow."""

    activation_checkpointing: list[str] = field(default_factory=list)
    """Parts whose activations are recomputed in the backward pass instead of stored."""

    cpu_offload: bool = False
    """Keep sharded parameters and their optimizer states in CPU memory; slow, and refused with ``accelerator: cpu``."""

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other or have no effect.

        Raises:
            RecipeError: names the first of them.
        """
        if self.sharding != "none" and self.devices * self.nodes == 1:
            raise RecipeError(
                f"hardware.sharding is {self.sharding} and there is one rank; set it to none, or devices to 2 or more"
            )
        if self.sharding == "hsdp" and self.nodes == 1:
            raise RecipeError(
                "hardware.sharding=hsdp replicates across nodes and hardware.nodes is 1; set it to fsdp"
            )
        if changed := [name for name in ("frozen", "tensor_parallel", "cpu_offload") if self._is_set(name)]:
            self._check_sharding(changed)
        if unlayered := sorted(set(self.activation_checkpointing) - set(LAYERED)):
            raise RecipeError(
                unknown("part with layers", unlayered[0], LAYERED, see="hardware.activation_checkpointing")
            )

    def _is_set(self, name: str) -> bool:
        """True if a setting differs from its default."""
        return bool(getattr(self, name) != getattr(type(self), name))

    def _check_sharding(self, changed: list[str]) -> None:
        if self.sharding == "none":
            raise RecipeError(
                f"hardware.{changed[0]} has no effect with sharding: none; set sharding to fsdp or hsdp"
            )
        if self.tensor_parallel < 1 or self.devices % self.tensor_parallel:
            raise RecipeError(
                f"hardware.tensor_parallel is {self.tensor_parallel} and a node has {self.devices} devices; choose a "
                f"divisor of {self.devices}"
            )
        if self.cpu_offload and self.accelerator == "cpu":
            raise RecipeError(
                "hardware.cpu_offload saves GPU memory and hardware.accelerator is cpu, so it has no effect; set it to false"
            )

    @property
    def num_data_parallel_ranks(self) -> int:
        """Number of ranks that train on different packs."""
        return self.devices * self.nodes // self.tensor_parallel

    @property
    def num_shards(self) -> int:
        """Number of ranks over which one copy of the trained parameters is sharded."""
        return {"none": 1, "fsdp": self.devices * self.nodes, "hsdp": self.devices}[self.sharding]

    @property
    def is_half(self) -> bool:
        """True if the model computes in bf16."""
        can_be = self.accelerator == "gpu" or has_bf16_instructions()
        return self.precision == "bf16" or (self.precision == "auto" and can_be)
