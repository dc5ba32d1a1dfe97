"""Load whole published audio-language models: Qwen2-Audio and Qwen-Audio.

Sizes are read from their ``config.json``; none of their code is run. Their vocabulary is handled by the tokenizer.

Source: the released folders; Qwen-Audio's ``modeling_qwen.py`` and ``audio.py`` at commit b50fb95.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from torch import Tensor
from transformers import AutoConfig, PreTrainedConfig, Qwen2Config

from audio_lm.common.errors import CheckpointError
from audio_lm.model.config import EncoderSizes
from audio_lm.model.weights.adapter import CONFIG as ADAPTER
from audio_lm.model.weights.convert import by_part, from_qwen2_audio, from_qwen_audio
from audio_lm.model.weights.files import (
    CONFIG,
    config_folder,
    first_few,
    published_folder,
    read_config,
    read_weights,
)
from audio_lm.model.weights.whisper_config import MAX_ERROR_LENGTH, encoder_sizes, unsupported_settings

# Settings with other values would make Qwen-Audio's code compute something else than Qwen2 of transformers.
EXPECTED_OF_QWEN = {"rotary_pct": 1.0, "no_bias": True, "tie_word_embeddings": False}
ASSUMED_OF_QWEN = {"scale_attn_weights": True}  # default of its code


@dataclass(frozen=True)
class Released:
    """Configuration of a whole published model."""

    source: str
    """Folder or hub name, as in the recipe."""

    encoder: EncoderSizes
    """Sizes of the encoder, which is of kind ``whisper``."""

    text: PreTrainedConfig
    """Configuration of the language model."""

    clip_start_id: int | None = None
    """Id of ``<audio>`` in Qwen-Audio; None for Qwen2-Audio."""

    @property
    def num_rows(self) -> int:
        """Vocabulary size of the language model."""
        return int(self.text.vocab_size)


def open_released(folder_or_name: str) -> Released:
    """Read the configuration of a folder or hub name, without its weights.

    Raises:
        CheckpointError: there is no such folder, or it has another kind of model.
    """
    if "/" not in folder_or_name and not Path(folder_or_name).is_dir():
        raise CheckpointError(
            f"model {folder_or_name!r} is no folder, and names on the hub are OWNER/NAME; give the folder of a Qwen2-Audio or "
            f"Qwen-Audio, such as one of `audio-lm export`, or a name such as Qwen/Qwen2-Audio-7B"
        )
    folder = config_folder(folder_or_name, what="model")
    path = folder / CONFIG
    config = read_config(folder)
    if config is None and (folder / ADAPTER).is_file():
        raise CheckpointError(
            f"{folder} is a LoRA adapter, not a whole model; give it as model.adapter, and as model.load the model that it was "
            f"trained on"
        )
    if config is None:
        raise CheckpointError(f"{path} is missing; give the folder of a Qwen2-Audio or Qwen-Audio")
    kind = config.get("model_type")
    try:
        if kind == "qwen2_audio":
            text = AutoConfig.from_pretrained(folder, trust_remote_code=False).text_config
            return Released(folder_or_name, encoder_sizes(config, path=path), text)
        if kind == "qwen" and isinstance(config.get("audio"), dict):
            return _qwen_audio(folder_or_name, path, config)
    except KeyError as error:
        raise CheckpointError(f"{path} lacks {error}; copy it from the source of the weights") from error
    except (OSError, ValueError, TypeError, StrictDataclassError) as error:
        message = " ".join(str(error).split())[:MAX_ERROR_LENGTH]
        raise CheckpointError(
            f"{path} is no configuration of a {kind} ({message}); copy it from the source of the weights"
        ) from error
    raise CheckpointError(
        f"{path} describes a {kind!r}; model.load takes a Qwen2-Audio or Qwen-Audio (load a language model alone with "
        f"model.language_model.load, an encoder with model.encoder.load)"
    )


def released_weights(released: Released) -> dict[str, dict[str, Tensor]]:
    """Read weights: part -> its weights, under our names.

    Raises:
        CheckpointError: files are missing or damaged, or have tensors of another kind of model.
    """
    source = released.source
    weights = read_weights(published_folder(source, what="model"))
    if released.clip_start_id is None:
        return by_part(from_qwen2_audio(weights, source=source))
    return by_part(from_qwen_audio(weights, clip_start_id=released.clip_start_id, source=source))


def _qwen_audio(source: str, path: Path, config: Mapping[str, Any]) -> Released:
    unsupported = unsupported_settings(ASSUMED_OF_QWEN | dict(config), EXPECTED_OF_QWEN | ASSUMED_OF_QWEN)
    width, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
    if config.get("kv_channels", width // heads) * heads != width:
        unsupported.append(f"kv_channels is {config['kv_channels']} and not {width // heads}")
    text = Qwen2Config(
        vocab_size=config["vocab_size"],
        hidden_size=width,
        intermediate_size=config["intermediate_size"]
        // 2,  # Qwen-Audio counts up and gate projection together
        num_hidden_layers=config["num_hidden_layers"],
        num_attention_heads=heads,
        num_key_value_heads=heads,
        rms_norm_eps=config["layer_norm_epsilon"],
        rope_parameters={"rope_type": "default", "rope_theta": float(config["rotary_emb_base"])},
        # For longer inputs Qwen-Audio's code rescales positions and logits (NTK, logn) in generation; ours does not.
        max_position_embeddings=config["seq_length"],
        tie_word_embeddings=False,
    )
    if unsupported:
        raise CheckpointError(
            f"{path}: {first_few(unsupported)} -- only the settings of the released Qwen-Audio are supported -- give that model"
        )
    return Released(source, encoder_sizes(config, path=path), text, int(config["audio"]["audio_start_id"]))
