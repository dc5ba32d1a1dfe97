from typing import get_args, get_type_hints

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.model.config import EncoderConfig, ProjectorConfig
from audio_lm.model.decoder.language_model import empty_language_model
from audio_lm.model.decoder.settings import new_settings
from audio_lm.model.encoders.token_count import TOKENS_OF
from audio_lm.model.projector import PROJECTORS, new_projector
from audio_lm.model.shapes import ENCODER_SHAPES, num_language_model_weights, num_projector_weights


def test_every_kind_of_the_config_has_a_size_and_a_token_count():
    kinds = set(get_args(get_type_hints(EncoderConfig)["kind"]))
    assert kinds == set(ENCODER_SHAPES) == set(TOKENS_OF)


def test_the_size_of_published_models_is_computed_without_weights():
    shape = ENCODER_SHAPES["transformers"](EncoderConfig(kind="transformers", architecture="wavlm"))
    assert shape.num_weights == pytest.approx(94.4e6, rel=0.01)


@pytest.mark.parametrize("kind", PROJECTORS)
@pytest.mark.parametrize("inner", [None, 5])
def test_weights_of_a_projector_are_counted_without_building_it(kind, inner):
    config = ProjectorConfig(kind) if kind == "linear" else ProjectorConfig(kind, 3, inner)
    built = sum(parameter.numel() for parameter in new_projector(config, 6, 4, scale=1.0).parameters())
    assert num_projector_weights(config, 6, 4) == built


@given(
    st.sampled_from(["qwen2", "llama", "qwen3"]),
    st.integers(1, 3),
    st.sampled_from([(4, 1), (4, 2), (4, 4)]),
    st.sampled_from([16, 32, 48]),
    st.integers(1, 99),
    st.integers(1, 300),
    st.booleans(),
)
def test_weights_of_a_language_model_are_counted_without_building_it(
    architecture, layers, heads, width, inner, rows, is_tied
):
    settings = {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads[0],
        "num_key_value_heads": heads[1],
        "intermediate_size": inner,
        "tie_word_embeddings": is_tied,
    }
    config = new_settings(architecture, settings, num_base=rows)
    with torch.device("meta"):
        model = empty_language_model(config)
    built = sum(parameter.numel() for parameter in model.parameters())
    assert num_language_model_weights(config) == built
