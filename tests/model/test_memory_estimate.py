from dataclasses import replace

import pytest

from audio_lm.config.load import load_recipe
from audio_lm.model.build import build_model
from audio_lm.model.memory_estimate import num_parameters, step_size

STEP = {
    "tokens": 16_384,
    "audio_seconds": 438.0,
    "learned_tokens": 3_000,
    "num_ids": 156_032,
    "num_ranks": 1,
    "is_half": True,
}


@pytest.mark.parametrize("name", ["demo", "tiny"])
def test_the_counted_weights_are_those_of_the_model(name):
    config = load_recipe("demo", [f"use.model={name}"]).recipe.model
    counts = num_parameters(config, num_base=300, num_new=40)
    model = build_model(config, num_base=300, num_new=40)
    for part, count in counts.items():
        assert count == sum(parameter.numel() for parameter in getattr(model, part).parameters()), part


def test_counts_equal_the_published_sizes():
    counts = num_parameters(load_recipe("qwen_audio").recipe.model, num_base=151_936, num_new=3_314)
    assert counts["encoder"] == pytest.approx(637e6, rel=0.01)
    assert counts["language_model"] == pytest.approx(7.7e9, rel=0.02)


def test_frozen_parts_have_no_optimizer_state_and_sharding_saves_memory():
    config = load_recipe("qwen_audio").recipe.model
    counts = num_parameters(config, num_base=151_936, num_new=3_314)
    encoder_stage = step_size(config, counts, {"encoder", "projector", "new_tokens"}, **STEP)
    decoder_stage = step_size(config, counts, {"new_tokens", "language_model"}, **STEP)
    # 7.7 B in 32 bits and as copies in 16, and 0.64 B with copies and two moments.
    assert 55e9 < encoder_stage.weights < 61e9
    assert 65e9 < encoder_stage.activations < 105e9
    assert decoder_stage.weights > 1.9 * encoder_stage.weights
    eight_ranks = step_size(config, counts, {"new_tokens", "language_model"}, **(STEP | {"num_ranks": 8}))
    assert eight_ranks.weights < 0.2 * decoder_stage.weights
    assert eight_ranks.total < 141e9


def test_activations_are_proportional_to_the_tokens():
    config = replace(load_recipe("demo").recipe.model)
    counts = num_parameters(config, num_base=300, num_new=40)
    one, two = (
        step_size(config, counts, {"language_model"}, **(STEP | {"tokens": tokens}))
        for tokens in (1_000, 2_000)
    )
    assert two.activations == pytest.approx(2 * one.activations)
    assert two.weights == one.weights


def test_frozen_weights_are_copied_to_16_bits_only_where_gradients_pass():
    config = load_recipe("qwen_audio").recipe.model
    counts = num_parameters(config, num_base=151_936, num_new=0)
    trained = {"language_model"}, {"projector"}, {"projector", "encoder"}
    decoder, projector, encoder = (step_size(config, counts, parts, **STEP).weights for parts in trained)
    lm, bridge, audio = counts["language_model"], counts["projector"], counts["encoder"]
    assert decoder == pytest.approx(14 * lm + 4 * (audio + bridge), rel=1e-6)
    assert projector == pytest.approx(14 * bridge + 6 * lm + 4 * audio, rel=1e-6)
    assert encoder == pytest.approx(14 * (bridge + audio) + 6 * lm, rel=1e-6)
