"""What a model is made of, as it stands in ``conf/model/``."""

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class EncoderConfig:
    """The audio encoder: Whisper's layers, then a pool over time."""

    kind: Literal["whisper"] = "whisper"
    """Which encoder."""

    load: str | None = None
    """A folder or hub name to take weights from; none starts from nothing."""

    num_mels: int = 80
    """Mel bins; 80 in Whisper-large-v2, 128 in large-v3."""

    width: int = 1280
    """Model width."""

    num_layers: int = 32
    """Transformer layers."""

    num_heads: int = 20
    """Attention heads."""

    mlp_width: int = 5120
    """Inner width of the feed-forward layers."""

    dropout: float = 0.0
    """Dropout on the residual branches."""


@dataclass(frozen=True)
class ProjectorConfig:
    """From the encoder's width to the language model's."""

    kind: Literal["linear"] = "linear"
    """Which projector."""


@dataclass(frozen=True)
class LanguageModelConfig:
    """Any causal language model of ``transformers``."""

    load: str | None = None
    """A folder or hub name; none builds ``architecture`` from nothing."""

    architecture: str = "qwen2"
    """``model_type`` of transformers, used when nothing is loaded."""

    settings: dict[str, Any] = field(default_factory=dict)
    """Fields of that architecture's configuration (``hidden_size`` and so on)."""


@dataclass(frozen=True)
class TokenizerConfig:
    """How text becomes tokens."""

    load: str | None = None
    """A folder or hub name; none trains a byte-level BPE on the texts of the recipe's sources."""

    vocab_size: int = 1024
    """Tokens of the trained vocabulary, markup not counted."""


@dataclass(frozen=True)
class ModelConfig:
    """An audio-language model."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """Hears."""

    projector: ProjectorConfig = field(default_factory=ProjectorConfig)
    """Connects."""

    language_model: LanguageModelConfig = field(default_factory=LanguageModelConfig)
    """Answers."""

    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    """Reads and writes."""
