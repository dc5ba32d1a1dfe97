"""Settings of a model, as in ``conf/model/``."""

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Annotated, Any, Literal

from audio_lm.common.errors import RecipeError, unknown
from audio_lm.common.ranges import Decay, Factor, Range

LOG_MEL_KINDS = ("whisper",)
"""Encoder kinds whose input is a log-mel spectrogram, to which SpecAugment applies."""

LORA_PARTS = ("encoder", "projector", "language_model")
"""Parts with linear layers, which can have low-rank updates."""

Width = Annotated[int, Range(1, 2**20)]
NumLayers = Annotated[int, Range(1, 1000)]
Setting = Annotated[Any, Range(-1e12, 1e12)]
"""A field of a transformers configuration, which validates it; ``config.checks`` limits sizes and numbers of layers."""


@dataclass(frozen=True)
class EncoderSizes:
    """Sizes of an encoder of kind ``whisper``; the defaults are those of Whisper-large-v2."""

    num_mels: int = 80
    width: int = 1280
    num_layers: int = 32
    num_heads: int = 20
    mlp_width: int = 5120


SIZES = tuple(size.name for size in fields(EncoderSizes))


@dataclass(frozen=True)
class EncoderConfig:
    """The audio encoder.

    Sizes of an encoder to load are read from its ``config.json`` (``resolve_sizes.resolve_sizes``); a size that is set
    here as well must be equal.
    """

    kind: Literal["whisper", "transformers"] = "whisper"
    """``whisper``: Whisper's layers and pooling over time, 25 tokens per second. ``transformers``: a speech encoder
    of that library, such as WavLM."""

    load: str | None = None
    """Folder or hub name of the weights to load; null initializes the encoder randomly."""

    architecture: str = "wavlm"
    """``model_type`` of transformers, used if nothing is loaded; only for kind ``transformers``."""

    settings: dict[str, Setting] = field(default_factory=dict)
    """Fields of that architecture's configuration (``hidden_size`` and so on); only for kind ``transformers``."""

    num_mels: Annotated[int, Range(1, 1024)] | None = None
    """Mel bins: 80 in Whisper-large-v2, 128 in large-v3. This and the sizes below are for kind ``whisper``; null takes
    the value of ``config.json``, or of ``EncoderSizes`` if nothing is loaded."""

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
        """Reject settings that the kind does not use."""
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

    def fill_sizes(self, sizes: EncoderSizes) -> "EncoderConfig":
        """Copy with every null size replaced."""
        return replace(self, **(asdict(sizes) | self.given_sizes))

    @property
    def sizes(self) -> EncoderSizes:
        """All sizes, after ``resolve_sizes.resolve_sizes`` has completed them.

        Raises:
            ValueError: a size is null.
        """
        if missing := [name for name in SIZES if getattr(self, name) is None]:
            raise ValueError(f"encoder.{missing[0]} is null; complete the config with resolve_sizes first")
        return EncoderSizes(**self.given_sizes)


@dataclass(frozen=True)
class ProjectorConfig:
    """The layers between encoder and language model."""

    kind: Literal["linear", "pooled", "stacked"] = "linear"
    """``linear``: one layer per token. ``pooled``: two layers on the mean of ``factor`` tokens. ``stacked``: two layers
    on ``factor`` concatenated tokens."""

    factor: Annotated[int, Range(1, 750)] = 1
    """Encoder tokens per audio token; must be 1 for kind ``linear``."""

    width: Width | None = None
    """Hidden width between the two layers; null takes the language model's. Kind ``linear`` has no hidden layer."""

    def __post_init__(self) -> None:
        """Reject settings that have no effect or are out of range."""
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
    """Folder or hub name of the weights to load; null initializes ``architecture`` randomly."""

    architecture: str = "qwen2"
    """``model_type`` of transformers, used if nothing is loaded."""

    settings: dict[str, Setting] = field(default_factory=dict)
    """Fields of that architecture's configuration (``hidden_size`` and so on); for a model to load they must be equal."""


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank updates (LoRA) of a part; the part's own weights can be frozen or trained."""

    rank: Width = 16
    """Rank of each update."""

    alpha: Factor = 32.0
    """An update is scaled by ``alpha / rank``."""

    dropout: Decay = 0.0
    """Dropout on the input of an update."""

    targets: list[str] = field(default_factory=list)
    """Last name component of the linear layers to update, such as ``q_proj``; empty means all but the output layer."""

    def __post_init__(self) -> None:
        """Reject values out of range."""
        if self.rank < 1 or not self.alpha > 0 or not 0 <= self.dropout < 1:
            raise RecipeError(
                f"lora has rank {self.rank}, alpha {self.alpha:g} and dropout {self.dropout:g}; expected 1 or more, "
                f"over 0, and 0 or more but under 1"
            )


@dataclass(frozen=True)
class TokenizerConfig:
    """The text tokenizer."""

    load: str | None = None
    """Folder or hub name of the tokenizer; null trains a byte-level BPE on the texts of the recipe's sources."""

    vocab_size: Annotated[int, Range(256, 1_000_000)] = 1024
    """Size of the trained vocabulary, without markup tokens."""


@dataclass(frozen=True)
class ModelConfig:
    """An audio-language model."""

    load: str | None = None
    """Folder or hub name of a whole Qwen2-Audio or Qwen-Audio, from which every part and the tokenizer are loaded."""

    adapter: str | None = None
    """Folder or hub name of a LoRA adapter of peft for the Qwen2-Audio of ``load``. It is merged into the weights of each
    part, or, for a part under ``lora``, gives that part's updates their initial values."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """Audio encoder."""

    projector: ProjectorConfig = field(default_factory=ProjectorConfig)
    """Layers between encoder and language model."""

    language_model: LanguageModelConfig = field(default_factory=LanguageModelConfig)
    """Causal language model."""

    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    """Text tokenizer."""

    trust_remote_code: bool = False
    """Run the Python code in the repository of a language model or tokenizer to load; read it first."""

    lora: dict[str, LoraConfig] = field(default_factory=dict)
    """Part -> its low-rank updates. They are a part of their own: ``language_model_lora`` for ``language_model``."""

    def __post_init__(self) -> None:
        """Reject a part that is loaded twice, and updates of a part without linear layers.

        Raises:
            RecipeError: lists the parts that are loaded twice, or names the part without linear layers.
        """
        loaded_twice = [
            name for name in ("encoder", "language_model", "tokenizer") if getattr(self, name).load
        ]
        if self.load is not None and loaded_twice:
            raise RecipeError(
                f"model.load loads every part, so {[f'model.{name}.load' for name in loaded_twice]} would have no "
                f"effect; set them to null, or model.load"
            )
        if self.adapter is not None and self.load is None:
            raise RecipeError(
                f"model.adapter is {self.adapter!r}, but model.load is null -- an adapter belongs to a whole Qwen2-Audio -- "
                f"set model.load to the model that it was trained on"
            )
        if self.trust_remote_code and not (self.language_model.load or self.tokenizer.load):
            raise RecipeError(
                "model.trust_remote_code is true, but language_model.load and tokenizer.load are null, so it would have "
                "no effect; set it to false"
            )
        if unknown_parts := sorted(set(self.lora) - set(LORA_PARTS)):
            raise RecipeError(unknown("part under lora", unknown_parts[0], LORA_PARTS, see="model.lora"))

    @property
    def tokenizer_source(self) -> str | None:
        """Folder or hub name of the tokenizer; None if it is trained for the run."""
        return self.tokenizer.load or self.load
