"""The schema of a run, and how it is read from ``recipes/`` and ``conf/``.

A recipe names a model, machines, corpora and a list of stages; each stage is a
column of a paper's table.
"""

from dataclasses import dataclass, field, is_dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from audio_lm.checkpoints.config import CheckpointConfig
from audio_lm.common.ranges import Count, Range, Share, Size
from audio_lm.data.config import MixtureConfig, SpecAugmentConfig
from audio_lm.evaluation.config import EvaluationConfig
from audio_lm.fault_tolerance.config import FaultToleranceConfig
from audio_lm.model.config import ModelConfig
from audio_lm.tracking.config import TrackingConfig
from audio_lm.training.config import (
    HardwareConfig,
    OptimizerConfig,
    PartConfig,
    PluginConfig,
    ScheduleConfig,
)

Resume = Literal["never", "auto", "segment"]
NEVER: Resume = "never"
AUTO: Resume = "auto"
SEGMENT: Resume = "segment"
CorpusSetting = Annotated[Any, Range(0, 2**32 - 1)]
"""A number of clips, a seed or a bound of a corpus; each corpus checks its own."""


@dataclass(frozen=True)
class StageConfig:
    """One training run of a pipeline."""

    prompt: Literal["tags", "natural", "chatml"]
    """How a task is put into words."""

    mixture: MixtureConfig
    """What is heard; in YAML the name of a piece of ``conf/mixture/`` or the table itself."""

    parts: dict[str, PartConfig]
    """Who learns: encoder, projector, new_tokens, language_model."""

    steps: Size
    """Optimizer steps."""

    global_batch: Size | None = None
    """Conversations per optimizer step over all ranks; null fills the token budget."""

    pack_tokens: Annotated[int, Range(1, 10**7)] = 4096
    """Token budget of one pack, audio and text; no conversation may be longer."""

    packing: Literal["full", "buckets"] = "full"
    """Which conversations meet in a pack: such as fill it, or such as are equally long, for models that pad."""

    packs_per_step: Annotated[int, Range(1, 10**6)] = 1
    """Packs per optimizer step over all ranks, whose number has to divide it: the order is the same for all of them."""

    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    """Over steps."""

    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """How a step follows from the gradient."""

    spec_augment: SpecAugmentConfig | None = field(default_factory=SpecAugmentConfig)
    """Holes in the log-mel; null for none."""

    long_audio: Literal["error", "drop", "truncate", "chunk"] = "error"
    """What happens to a clip over 30 s; `drop` also leaves out conversations over `pack_tokens`, all others refuse them."""

    max_bad_fraction: Share = 0.001
    """Share of manifest lines, of audio files and of heard clips that may be unfit before the run stops."""

    validation: MixtureConfig = field(default_factory=MixtureConfig)
    """Sources validated on, task by task; weights are ignored there."""

    checkpoint_every: Size = 500
    """Steps between checkpoints; one is also written at the end and on Ctrl-C."""

    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    """Which of them stay, and how they are written."""

    validate_every: Count = 0
    """Steps between validations; 0 validates at the end of the stage only."""

    max_validation_clips: Count = 64
    """Per task."""


@dataclass(frozen=True)
class StandInsConfig:
    """What is heard instead of data that is not here, when a recipe is only tried."""

    corpora: dict[str, dict[str, CorpusSetting]] = field(default_factory=dict)
    """Corpora to prepare, with their settings."""

    sources: dict[str, str] = field(default_factory=dict)
    """Task, or ``chat`` -> the cut-set that stands in for all of its own."""


@dataclass(frozen=True)
class Recipe:
    """One run that someone would put in a table."""

    name: str
    """Of the file."""

    stages: dict[str, StageConfig]
    """In order; weights are carried over, the optimizer starts fresh."""

    model: ModelConfig
    """From ``conf/model/`` by ``use.model``."""

    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    """From ``conf/hardware/`` by ``use.hardware``."""

    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """From ``conf/benchmarks/`` by ``use.benchmarks``."""

    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    """MLflow."""

    fault_tolerance: FaultToleranceConfig = field(default_factory=FaultToleranceConfig)
    """How long a rank may be silent, how often a run may begin again."""

    corpora: dict[str, dict[str, CorpusSetting]] = field(default_factory=dict)
    """Corpora to prepare when they are not there yet, with their settings."""

    data_dir: str = "data"
    """Where prepared corpora lie."""

    cache_dir: str | None = None
    """Where indexes and token lengths are kept; null for `.index` in `data_dir`, which then has to be writable."""

    audio_roots: list[str] = field(default_factory=list)
    """Folders that audio files may lie in; empty allows any."""

    seed: Annotated[int, Range(0, 2**32 - 1)] = 0
    """Of everything."""

    resume: Resume = NEVER
    """``auto``: go on from the newest valid checkpoint; ``segment``: also append what has changed in mixtures to the order."""

    only: list[str] = field(default_factory=list)
    """Train only these stages, from the weights of the stage before them."""

    use: dict[str, str] = field(default_factory=dict)
    """Pieces of ``conf/``: model, hardware, benchmarks, scale."""

    stand_ins: StandInsConfig = field(default_factory=StandInsConfig)
    """Set by ``use.scale``: lets a recipe run without its data."""

    callbacks: list[PluginConfig] = field(default_factory=list)
    """Lightning callbacks of every stage, beside our own; they run code, so the command line needs ``--trust-code``."""

    logger: PluginConfig | None = None
    """A Lightning logger beside MLflow; needs ``--trust-code`` too."""

    published: dict[str, dict[str, Annotated[float, Range(-1e9, 1e9)]]] = field(default_factory=dict)
    """Published scores: benchmark -> metric -> value."""

    @property
    def is_resumed(self) -> bool:
        """Whether a run in its folder is gone on with."""
        return self.resume != NEVER

    @property
    def sources(self) -> list[str]:
        """Every cut-set that it names, once."""
        mixtures = [
            mixture for stage in self.stages.values() for mixture in (stage.mixture, stage.validation)
        ]
        named = [source for mixture in mixtures for sources in mixture.sources.values() for source in sources]
        named += [benchmark.source for benchmark in self.evaluation.benchmarks.values()]
        return list(dict.fromkeys(named))


def with_words(value: Any, kind: Any = Recipe) -> Any:
    """The same with words where a schema has words and YAML reads numbers.

    Args:
        kind: the dataclass of a table, or the type of a field.

    >>> with_words({"cpu": 32, "gpu": "bf16"}, dict[str, Literal["32", "bf16"]])
    {'cpu': '32', 'gpu': 'bf16'}
    """
    is_union = get_origin(kind) in (Union, UnionType)
    for member in get_args(kind) if is_union else (kind,):
        value = _with_words_of(value, member)
    return value


def _with_words_of(value: Any, kind: Any) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal and isinstance(value, int | float) and str(value) in inner:
        return str(value)
    if isinstance(value, dict) and (origin is dict or is_dataclass(kind)):
        kinds = get_type_hints(kind) if is_dataclass(kind) else dict.fromkeys(value, inner[1])
        return {key: with_words(one, kinds.get(key)) for key, one in value.items()}
    if isinstance(value, list) and origin is list:
        return [with_words(one, inner[0]) for one in value]
    return value
