"""What a model is made of, as it stands in ``conf/model/``."""

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Annotated, Any, Literal

from audio_lm.common.errors import RecipeError, unknown
from audio_lm.common.ranges import Decay, Factor, Range

LOG_MEL_KINDS = ("whisper",)
"""Encoders that hear a log-mel, in which SpecAugment can make holes."""

LORA_PARTS = ("encoder", "projector", "language_model")
"""Parts with linear layers."""


Width = Annotated[int, Range(1, 2**20)]
NumLayers = Annotated[int, Range(1, 1000)]
Setting = Annotated[Any, Range(-1e12, 1e12)]
"""A number in a configuration of transformers, which checks what it means; ``checks`` bounds sizes and numbers of layers."""


@dataclass(frozen=True)
class EncoderSizes:
    """Sizes of an encoder of kind ``whisper``; the defaults are those of Whisper-large-v2."""

    num_mels: int = 80
    width: int = 1280
    num_layers: int = 32
    num_heads: int = 20
    mlp_width: int = 5120


SIZES = tuple(one.name for one in fields(EncoderSizes))


@dataclass(frozen=True)
class EncoderConfig:
    """The audio encoder.

    What ``config.json`` of weights to load says is read from it (``sizes.resolved``); a setting beside it has to agree.
    """

    kind: Literal["whisper", "transformers"] = "whisper"
    """Whisper's layers and a pool over time, 25 tokens a second; or a speech encoder of that library, such as WavLM."""

    load: str | None = None
    """A folder or hub name to take weights from; none starts from nothing."""

    architecture: str = "wavlm"
    """``model_type`` of transformers, used when nothing is loaded; kind ``transformers`` alone."""

    settings: dict[str, Setting] = field(default_factory=dict)
    """Fields of that architecture's configuration (``hidden_size`` and so on); kind ``transformers`` alone."""

    num_mels: Annotated[int, Range(1, 1024)] | None = None
    """Mel bins; 80 in Whisper-large-v2, 128 in large-v3. This and the sizes below are those of kind ``whisper``;
    null is what ``config.json`` says, or ``EncoderSizes`` where nothing is loaded."""

    width: Width | None = None
    """Model width."""

    num_layers: NumLayers | None = None
    """Transformer layers."""

    num_heads: Annotated[int, Range(1, 1024)] | None = None
    """Attention heads."""

    mlp_width: Width | None = None
    """Inner width of the feed-forward layers."""

    dropout: Decay = 0.0
    """Dropout on the residual branches."""

    def __post_init__(self) -> None:
        """Refuse settings that nothing reads."""
        if self.kind == "whisper" and self.settings:
            raise RecipeError(
                f"encoder.settings has {sorted(self.settings)}, which kind 'whisper' does not read; set width, num_layers "
                f"and so on, or kind: transformers"
            )

    @property
    def given_sizes(self) -> dict[str, int]:
        """The sizes that are not null."""
        values = {name: getattr(self, name) for name in SIZES}
        return {name: value for name, value in values.items() if value is not None}

    def completed(self, sizes: EncoderSizes) -> "EncoderConfig":
        """The same with sizes in the places of nulls."""
        return replace(self, **(asdict(sizes) | self.given_sizes))

    @property
    def sizes(self) -> EncoderSizes:
        """All sizes, of a config that ``sizes.resolved`` has completed.

        Raises:
            ValueError: one is null.
        """
        if missing := [name for name in SIZES if getattr(self, name) is None]:
            raise ValueError(f"encoder.{missing[0]} is null; complete the config with sizes.resolved first")
        return EncoderSizes(**self.given_sizes)


@dataclass(frozen=True)
class ProjectorConfig:
    """From the encoder's width to the language model's."""

    kind: Literal["linear", "pooled", "stacked"] = "linear"
    """One layer for each token; or two layers for the mean of several; or two layers for several side by side."""

    factor: Annotated[int, Range(1, 750)] = 1
    """Tokens of the encoder that become one audio token; kind ``linear`` leaves them as they are."""

    width: Width | None = None
    """Of the layer between; null takes the language model's. Kind ``linear`` has none."""

    def __post_init__(self) -> None:
        """Refuse settings that have no effect or no meaning."""
        if self.factor < 1 or (self.width is not None and self.width < 1):
            raise RecipeError(
                f"projector.factor is {self.factor} and width {self.width}; both must be 1 or more"
            )
        if self.kind == "linear" and (self.factor > 1 or self.width is not None):
            raise RecipeError(
                "projector.factor and projector.width are read by kinds 'pooled' and 'stacked', not by 'linear'; "
                "choose one of them, or leave both out"
            )


@dataclass(frozen=True)
class LanguageModelConfig:
    """Any causal language model of ``transformers``."""

    load: str | None = None
    """A folder or hub name; none builds ``architecture`` from nothing."""

    architecture: str = "qwen2"
    """``model_type`` of transformers, used when nothing is loaded."""

    settings: dict[str, Setting] = field(default_factory=dict)
    """Fields of that architecture's configuration (``hidden_size`` and so on); of a model to load they have to agree."""


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank updates of a part whose own weights may stay as they are."""

    rank: Width = 16
    """Of each update."""

    alpha: Factor = 32.0
    """An update is scaled by this over its rank."""

    dropout: Decay = 0.0
    """Of what goes into an update."""

    targets: list[str] = field(default_factory=list)
    """Last names of the linear layers that have one, such as ``q_proj``; none means all but the output layer."""

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if self.rank < 1 or not self.alpha > 0 or not 0 <= self.dropout < 1:
            raise RecipeError(
                f"lora has rank {self.rank}, alpha {self.alpha:g} and dropout {self.dropout:g}; expected 1 or more, "
                f"over 0, and 0 or more but under 1"
            )


@dataclass(frozen=True)
class TokenizerConfig:
    """How text becomes tokens."""

    load: str | None = None
    """A folder or hub name; none trains a byte-level BPE on the texts of the recipe's sources."""

    vocab_size: Annotated[int, Range(256, 1_000_000)] = 1024
    """Tokens of the trained vocabulary, markup not counted."""


@dataclass(frozen=True)
class ModelConfig:
    """An audio-language model."""

    load: str | None = None
    """A folder or hub name of a whole Qwen2-Audio or Qwen-Audio to take every part and the tokenizer from."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """Hears."""

    projector: ProjectorConfig = field(default_factory=ProjectorConfig)
    """Connects."""

    language_model: LanguageModelConfig = field(default_factory=LanguageModelConfig)
    """Answers."""

    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    """Reads and writes."""

    trust_remote_code: bool = False
    """Run the Python code that comes with a language model or tokenizer to load; read it first."""

    lora: dict[str, LoraConfig] = field(default_factory=dict)
    """Part -> its updates, which learn as a part of their own: ``language_model_lora`` for ``language_model``."""

    def __post_init__(self) -> None:
        """Refuse to load a part twice, and updates of what has no linear layers.

        Raises:
            RecipeError: lists what is loaded beside the whole model, or names the part.
        """
        twice = [name for name in ("encoder", "language_model", "tokenizer") if getattr(self, name).load]
        if self.load is not None and twice:
            raise RecipeError(
                f"model.load brings every part, so {[f'model.{name}.load' for name in twice]} would do nothing; "
                f"set those to null, or model.load"
            )
        if self.trust_remote_code and not (self.language_model.load or self.tokenizer.load):
            raise RecipeError(
                "model.trust_remote_code is true, but neither language_model.load nor tokenizer.load names anything "
                "published, so it would do nothing; set it to false"
            )
        if strange := sorted(set(self.lora) - set(LORA_PARTS)):
            raise RecipeError(unknown("part under lora", strange[0], LORA_PARTS, see="model.lora"))

    @property
    def tokenizer_source(self) -> str | None:
        """Where the tokenizer is loaded from; none where it is trained for the run."""
        return self.tokenizer.load or self.load
