"""The language model: any causal language model of ``transformers`` that works with our packed attention.

The library's model is not modified. Architectures that would silently mix packed conversations, because they have
their own attention or recurrent layers, are rejected when the model is built.

Shapes: T positions of all conversations, D width.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, cast

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.initialization import no_init_weights

from audio_lm.common import compat
from audio_lm.common.errors import CheckpointError, RecipeError
from audio_lm.common.packed_batch import PackedBatch
from audio_lm.model.decoder.packed_attention import PACKED
from audio_lm.model.decoder.settings import language_model_error, new_settings, settings_errors
from audio_lm.model.weights.files import first_few
from audio_lm.model.weights.tied import are_untied

PACKABLE_LAYERS = {"full_attention", "sliding_attention"}
RESCALED_LOGITS = ("final_logit_softcapping", "logits_scaling", "logit_scale", "output_multiplier_scale")
"""Settings with which an architecture rescales its logits after the output layer; we call only that layer."""


def load_language_model(folder_or_name: str, *, trust_remote_code: bool = False) -> PreTrainedModel:
    """Load published weights, in 32 bits.

    Args:
        trust_remote_code: run Python code from the model's repository.

    Raises:
        CheckpointError: there is no such model, it needs remote code, or its weights do not fit its configuration.
        RecipeError: packed sequences are not possible with the architecture.
    """
    try:
        model, loaded = cast(
            tuple[PreTrainedModel, dict[str, Any]],
            AutoModelForCausalLM.from_pretrained(
                folder_or_name,
                attn_implementation=PACKED,
                dtype=torch.float32,
                trust_remote_code=trust_remote_code,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # listed below, together with missing and extra weights
            ),
        )
    except (OSError, ValueError, SafetensorError, StrictDataclassError) as error:
        raise language_model_error(folder_or_name, error) from error
    problems = [f"{name} is missing" for name in sorted(loaded["missing_keys"])]
    problems += [f"{name} is extra" for name in sorted(loaded["unexpected_keys"])]
    problems += [
        f"{name} has shape {tuple(theirs)} and not {tuple(ours)}"
        for name, theirs, ours in sorted(loaded["mismatched_keys"])
    ]
    if problems:
        raise CheckpointError(
            f"language model {folder_or_name!r} does not fit its own config.json: {first_few(problems)}; "
            f"copy config.json and weights from the same source"
        )
    return _checked(model)


def new_language_model(architecture: str, settings: Mapping[str, Any], *, num_base: int) -> PreTrainedModel:
    """Build an architecture with the library's random initialization.

    Args:
        architecture: a ``model_type``, such as ``qwen2``.
        settings: fields of its configuration.
        num_base: vocabulary size.

    Raises:
        RecipeError: the architecture or one of its settings does not exist, or packed sequences are not possible.
    """
    with settings_errors(architecture):
        config = new_settings(architecture, settings, num_base=num_base)
        model = AutoModelForCausalLM.from_config(config, attn_implementation=PACKED, dtype=torch.float32)
    return _checked(model)


def empty_language_model(
    config: PreTrainedConfig,
    weights: Mapping[str, Tensor] | None = None,
    *,
    source: str = "the model",
    trust_remote_code: bool = False,
) -> PreTrainedModel:
    """Build a language model without initializing its weights; its tables are tied as in its files.

    Args:
        weights: of its files; they are not loaded. None ties the tables as the configuration says.
        source: folder or hub name of the files, for messages.
        trust_remote_code: run the Python code that the configuration names.

    Raises:
        RecipeError: packed sequences are not possible with the architecture.
    """
    model = _without_weights(config, trust_remote_code=trust_remote_code)
    if weights and are_untied(model, weights, source=source):
        untied = deepcopy(config)
        untied.tie_word_embeddings = untied.get_text_config().tie_word_embeddings = False
        model = _without_weights(untied, trust_remote_code=trust_remote_code)
    return _checked(model)


def _without_weights(config: PreTrainedConfig, *, trust_remote_code: bool) -> PreTrainedModel:
    with no_init_weights():
        model = AutoModelForCausalLM.from_config(
            config, attn_implementation=PACKED, dtype=torch.float32, trust_remote_code=trust_remote_code
        )
    model.tie_weights()  # skipped together with the initialization
    return model


def check_rows(rows: int, num_base: int | None, *, source: str) -> None:
    """Check that the vocabulary sizes of language model and tokenizer are equal.

    Raises:
        CheckpointError: they differ; the message has both numbers.
    """
    if num_base not in (None, rows):
        raise CheckpointError(
            f"language model {source!r} has {rows} rows, expected {num_base}; load the tokenizer it was trained with"
        )


def hidden_states(language_model: PreTrainedModel, embedded_TD: Tensor, pack: PackedBatch) -> Tensor:
    """(T, D) hidden states before the output layer.

    ``cu_seq_lens`` keeps packed conversations separate. There must be no mask and no cache: with either of them,
    transformers could choose an attention path that silently mixes conversations.
    """
    output = language_model.base_model(
        inputs_embeds=embedded_TD[None],
        attention_mask=None,
        position_ids=pack.position_ids[None],
        use_cache=False,
        cu_seq_lens_q=pack.cu_seq_lens,
        cu_seq_lens_k=pack.cu_seq_lens,
        max_length_q=pack.max_length,
        max_length_k=pack.max_length,
    )
    states_TD: Tensor = output.last_hidden_state[0]
    return states_TD


@contextmanager
def use_padded_attention(language_model: PreTrainedModel) -> Iterator[None]:
    """Use SDPA attention inside the context, for padded batches with a cache."""
    language_model.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        language_model.set_attn_implementation(PACKED)


# `transformers` types both tables as any module.
def input_table(language_model: PreTrainedModel) -> nn.Embedding:
    """Embedding table of a causal language model."""
    return cast(nn.Embedding, language_model.get_input_embeddings())


def output_table(language_model: PreTrainedModel) -> nn.Linear:
    """Output layer of a causal language model."""
    return cast(nn.Linear, language_model.get_output_embeddings())


def embedding_std(language_model: PreTrainedModel, weights: Mapping[str, Tensor] | None = None) -> float:
    """Standard deviation of the word embeddings, as the embedding layer returns them.

    Args:
        weights: weights of a language model whose parameters are on ``meta``.
    """
    table = input_table(language_model)
    rows_VD = _rows_of(table, language_model, weights)
    first = torch.arange(min(table.num_embeddings, 4096))
    with torch.no_grad():
        return float(torch.func.functional_call(table, {"weight": rows_VD}, (first,)).float().std())


def mean_output_row(language_model: PreTrainedModel, weights: Mapping[str, Tensor] | None = None) -> Tensor:
    """(D,) mean of the output rows; its logit is the mean of all logits.

    Args:
        weights: weights of a language model whose parameters are on ``meta``.
    """
    with torch.no_grad():
        return _rows_of(output_table(language_model), language_model, weights).float().mean(0)


def _rows_of(
    table: nn.Module, language_model: PreTrainedModel, weights: Mapping[str, Tensor] | None
) -> Tensor:
    """Rows of a table, from ``weights`` if they are given."""
    rows_VD: Tensor = table.weight  # type: ignore[assignment]
    if weights is None:
        return rows_VD
    names = [name for name, parameter in language_model.named_parameters() if parameter is rows_VD]
    return weights[names[0]]


def _checked(model: PreTrainedModel) -> PreTrainedModel:
    config = model.config
    unsupported_layers = set(getattr(config, "layer_types", None) or ()) - PACKABLE_LAYERS
    rescaled = [name for name in RESCALED_LOGITS if getattr(config, name, None) not in (None, 1.0)]
    if unsupported_layers or not compat.has_attention_interface(model) or config.is_encoder_decoder:
        raise RecipeError(
            f"language model {config.model_type!r} has {sorted(unsupported_layers) or 'its own attention'}, in which packed "
            f"conversations would see each other; choose an architecture with standard attention, such as qwen2 or llama"
        )
    if rescaled:
        raise RecipeError(
            f"language model {config.model_type!r} rescales its logits by {rescaled}, which is not applied to new "
            f"tokens; set these to null or choose another architecture"
        )
    return model
