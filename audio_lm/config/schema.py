"""Schema of a recipe: model, hardware, corpora, stages, evaluation.

``config/load`` fills it from ``recipes/``, ``conf/`` and the command line. Each stage
corresponds to a column of the hyper-parameter table in a paper.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, is_dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from audio_lm.checkpoints.config import CheckpointConfig
from audio_lm.common.ranges import ONE_OR_MORE, Count, Range, Share, Size
from audio_lm.data.config import MixtureConfig, SpecAugmentConfig
from audio_lm.evaluation.config import EvaluationConfig, GuardConfig
from audio_lm.fault_tolerance.config import FaultToleranceConfig
from audio_lm.model.config import ModelConfig
from audio_lm.tasks.config import OwnTaskConfig
from audio_lm.tasks.own import with_own_tasks
from audio_lm.tasks.registry import CHAT
from audio_lm.tasks.task import Task
from audio_lm.tracking.config import TrackingConfig
from audio_lm.training.config import (
    HardwareConfig,
    OptimizerConfig,
    PartConfig,
    PluginConfig,
    ScheduleConfig,
)
from audio_lm.training.objective_config import (
    DPO,
    GIVEN,
    GRPO,
    NEXT_TOKEN,
    AnswerRule,
    DpoConfig,
    GrpoConfig,
    Objective,
)

Resume = Literal["never", "auto", "segment"]
NEVER: Resume = "never"
AUTO: Resume = "auto"
SEGMENT: Resume = "segment"
CorpusSetting = Annotated[Any, Range(0, 2**32 - 1)]
"""Setting of a corpus, such as a number of clips or a seed; each corpus checks its own."""


@dataclass(frozen=True)
class StageConfig:
    """One training run of a pipeline."""

    prompt: Literal["tags", "natural", "chatml"]
    """Prompt format of the tasks."""

    mixture: MixtureConfig
    """Training data; in YAML the name of a piece of ``conf/mixture/`` or the table itself."""

    parts: dict[str, PartConfig]
    """Learning rate of each part: encoder, projector, new_tokens, language_model."""

    steps: Size
    """Optimizer steps."""

    objective: Objective = NEXT_TOKEN
    """Aim: the answers as given (`next_token`), to prefer them to the label `rejected` (`dpo`), to earn rewards (`grpo`)."""

    dpo: DpoConfig | None = None
    """Loss of `objective: dpo`; null: the default one."""

    grpo: GrpoConfig | None = None
    """Rewards and sampling of `objective: grpo`."""

    start_from: str | None = None
    """Stage of another run, `RUN/stages/STAGE`, whose final weights this stage starts from; null: those of the stage before."""

    global_batch: Size | None = None
    """Conversations per optimizer step over all ranks; null: as many as fit the token budget."""

    pack_tokens: Annotated[int, Range(1, 10**7)] = 4096
    """Token budget of one pack, audio and text; also the limit for one conversation."""

    packing: Literal["full", "buckets"] = "full"
    """Grouping of conversations: `full` fills each pack, `buckets` groups similar lengths, for models that pad."""

    packs_per_step: Annotated[int, Range(1, 10**6)] = 1
    """Packs per optimizer step over all ranks; a multiple of the number of ranks, so that the order does not depend on it."""

    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    """Learning rate schedule over steps."""

    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Optimizer and gradient clipping."""

    spec_augment: SpecAugmentConfig | None = field(default_factory=SpecAugmentConfig)
    """SpecAugment: masks in the log-mel spectrogram; null for none."""

    long_audio: Literal["error", "drop", "truncate", "chunk"] = "error"
    """Handling of clips over 30 s; `drop` also drops conversations over `pack_tokens`, the others refuse them."""

    max_bad_fraction: Share = 0.001
    """Allowed fraction of invalid manifest lines, audio files and clips read in training; above it the run stops."""

    validation: MixtureConfig = field(default_factory=MixtureConfig)
    """Validation sources of each task; their weights are ignored."""

    checkpoint_every: Size = 500
    """Steps between checkpoints; one is also written at the end and on Ctrl-C or SIGTERM."""

    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    """Retention and writing of checkpoints."""

    validate_every: Count = 0
    """Steps between validations; 0 validates only at the end of the stage."""

    max_validation_clips: Count = 64
    """Validation clips per task."""

    score_every: Count = 0
    """Steps between scores of the stage's benchmarks on a fixed subset of their clips; 0 scores only at the end."""

    score_clips: Size = 64
    """Clips per benchmark of the scores during training."""

    score_max_share: Share = 0.05
    """Largest share of the training time for scores during training; where they need more, some are left out."""

    @property
    def dpo_loss(self) -> DpoConfig | None:
        """Loss of pairs; None with another objective."""
        return (self.dpo or DpoConfig()) if self.objective == DPO else None

    @property
    def answer_rule(self) -> AnswerRule:
        """Answers of the stage's examples."""
        if self.objective == GRPO and self.grpo is not None:
            return AnswerRule(num_sampled=self.grpo.num_answers, max_new_tokens=self.grpo.max_new_tokens)
        return AnswerRule(is_paired=True) if self.objective == DPO else GIVEN


@dataclass(frozen=True)
class StandInsConfig:
    """Small replacement data for smoke tests of a recipe whose data is absent."""

    corpora: dict[str, dict[str, CorpusSetting]] = field(default_factory=dict)
    """Corpora to prepare, with their settings."""

    sources: dict[str, str] = field(default_factory=dict)
    """Task, ``chat``, or ``pairs`` (chats of stages with ``objective: dpo``) -> cut-set that replaces its absent sources."""

    own_source: str | None = None
    """Cut-set that replaces the sources of the recipe's own tasks, if all of them are absent."""

    own_label: str = "text"
    """Label of ``own_source`` that replaces the labels of these tasks."""


@dataclass(frozen=True)
class Recipe:
    """Recipe of one run."""

    name: str
    """Name of the recipe file, without suffix, unless set."""

    stages: dict[str, StageConfig]
    """Stages in order; each starts from the weights of the one before, with a new optimizer."""

    model: ModelConfig
    """Model; from ``conf/model/`` with ``use.model``."""

    tasks: dict[str, OwnTaskConfig] = field(default_factory=dict)
    """Tasks of the recipe's own, beside those of ``audio_lm/tasks/``."""

    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    """Hardware; from ``conf/hardware/`` with ``use.hardware``."""

    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """Evaluation; from ``conf/benchmarks/`` with ``use.benchmarks``."""

    guard: GuardConfig | None = None
    """Benchmarks and a text that later stages must not forget; null for no check."""

    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    """MLflow tracking."""

    fault_tolerance: FaultToleranceConfig = field(default_factory=FaultToleranceConfig)
    """Timeouts of heartbeats and the number of restarts."""

    corpora: dict[str, dict[str, CorpusSetting]] = field(default_factory=dict)
    """Corpora to prepare if they are absent, with their settings."""

    data_dir: str = "data"
    """Folder of prepared corpora."""

    cache_dir: str | None = None
    """Folder of cached indexes and token counts; null: `.index` in `data_dir`, which then has to be writable."""

    audio_roots: list[str] = field(default_factory=list)
    """Folders from which audio files may be read; empty allows any."""

    seed: Annotated[int, Range(0, 2**32 - 1)] = 0
    """Seed of all random numbers."""

    extends: str | None = None
    """Folder of a run whose trained state this run goes on from, for more steps or at other rates; set by ``--extend``."""

    resume: Resume = NEVER
    """``auto`` resumes from the newest valid checkpoint; ``segment`` also accepts changed mixtures, as a new segment."""

    only: list[str] = field(default_factory=list)
    """Stages to train; the first starts from the weights of the stage before it. Empty: all."""

    use: dict[str, str] = field(default_factory=dict)
    """Pieces of ``conf/``: model, hardware, benchmarks, scale. And `recipe`: the recipe that this one is a variant of."""

    stand_ins: StandInsConfig = field(default_factory=StandInsConfig)
    """Replacement data, set by ``use.scale``, so that a recipe runs without its own."""

    callbacks: list[PluginConfig] = field(default_factory=list)
    """Lightning callbacks of every stage, beside our own; they run code, so the command line needs ``--trust-code``."""

    logger: PluginConfig | None = None
    """A Lightning logger beside MLflow; needs ``--trust-code`` too."""

    published: dict[str, dict[str, Annotated[float, Range(-1e9, 1e9)]]] = field(default_factory=dict)
    """Published scores: benchmark -> metric -> value."""

    @property
    def is_resumed(self) -> bool:
        """True if the run resumes from its folder."""
        return self.resume != NEVER

    @property
    def task_table(self) -> dict[str, Task]:
        """All tasks by name: those in code, and the recipe's own."""
        return with_own_tasks(self.tasks)

    def sources_of(self, task: str) -> list[str]:
        """Cut-sets of a task, in training, validation and benchmarks."""
        return [source for name, source in self._tasks_and_sources() if name == task]

    @property
    def sources(self) -> list[str]:
        """Distinct cut-sets that the recipe names."""
        return list(dict.fromkeys(source for _, source in self._tasks_and_sources()))

    def _tasks_and_sources(self) -> Iterator[tuple[str, str]]:
        for stage in self.stages.values():
            for mixture in (stage.mixture, stage.validation):
                for task, sources in mixture.sources.items():
                    yield from ((task, source) for source in sources)
        yield from ((benchmark.task, benchmark.source) for benchmark in self.evaluation.benchmarks.values())
        if self.guard is not None and self.guard.text is not None:
            yield CHAT, self.guard.text


def coerce_literals(value: Any, kind: Any = Recipe) -> Any:
    """Convert numbers to strings where the schema has a ``Literal`` of strings, and a text to a list if it has ``OneOrMore``.

    YAML reads ``precision: 32`` as a number.

    Args:
        kind: dataclass of a table, or type of a field.

    >>> coerce_literals({"cpu": 32, "gpu": "bf16"}, dict[str, Literal["32", "bf16"]])
    {'cpu': '32', 'gpu': 'bf16'}
    """
    if get_origin(kind) is Annotated:
        is_single = ONE_OR_MORE in kind.__metadata__ and isinstance(value, str | int | float)
        value, kind = [value] if is_single else value, kind.__origin__
    is_union = get_origin(kind) in (Union, UnionType)
    for member in get_args(kind) if is_union else (kind,):
        value = _coerce_member(value, member)
    return value


def _coerce_member(value: Any, kind: Any) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal and isinstance(value, int | float) and str(value) in inner:
        return str(value)
    if isinstance(value, dict) and (origin is dict or is_dataclass(kind)):
        kinds = (
            get_type_hints(kind, include_extras=True)
            if is_dataclass(kind)
            else dict.fromkeys(value, inner[1])
        )
        return {key: coerce_literals(item, kinds.get(key)) for key, item in value.items()}
    if isinstance(value, list) and origin is list:
        return [coerce_literals(item, inner[0]) for item in value]
    return value
