from typing import get_args, get_type_hints

import pytest
import torch
from torch.nn import functional as F

from audio_lm.common.audio_units import AudioTokenCount
from audio_lm.common.errors import RecipeError
from audio_lm.model.config import ProjectorConfig
from audio_lm.model.projector import PROJECTORS, new_projector, projector_windows

COUNTS = [1, 7, 4, 9]
CONFIGS = [
    ProjectorConfig(),
    ProjectorConfig("pooled", factor=1),
    ProjectorConfig("pooled", factor=4, width=24),
    ProjectorConfig("stacked", factor=3),
]


def audio(width=32):
    return F.layer_norm(torch.randn(sum(COUNTS), width), (width,))


def named(config):
    return f"{config.kind}-{config.factor}"


@pytest.mark.parametrize("config", CONFIGS, ids=named)
def test_the_number_of_output_tokens_follows_from_the_windows(config):
    projector = new_projector(config, 32, 16, scale=0.5)
    token_count = AudioTokenCount(projector_windows(config))
    assert projector(audio(), COUNTS).shape == (sum(map(token_count.tokens_in, COUNTS)), 16)


@pytest.mark.parametrize("config", CONFIGS, ids=named)
def test_the_projection_of_a_clip_does_not_depend_on_other_clips(config):
    projector, tokens = new_projector(config, 32, 16, scale=0.5), audio()
    alone = [projector(clip, [len(clip)]) for clip in tokens.split(COUNTS)]
    torch.testing.assert_close(projector(tokens, COUNTS), torch.cat(alone))


@pytest.mark.parametrize("config", CONFIGS, ids=named)
def test_audio_tokens_start_at_the_scale_of_word_embeddings(config):
    projector = new_projector(config, 256, 128, scale=0.02)
    tokens = audio(256) if config.kind != "pooled" else audio(256)[:1].expand(sum(COUNTS), -1)
    assert 0.5 < float(projector(tokens, COUNTS).detach().std()) / 0.02 < 1.6


def test_a_group_is_averaged_or_concatenated():
    tokens = torch.arange(10.0).view(5, 2)
    pooled = new_projector(ProjectorConfig("pooled", factor=2), 2, 4, scale=1.0)
    stacked = new_projector(ProjectorConfig("stacked", factor=2), 2, 4, scale=1.0)
    assert pooled._groups(tokens, [3, 2]).tolist() == [[1, 2], [4, 5], [7, 8]]
    assert stacked._groups(tokens, [3, 2]).tolist() == [[0, 1, 2, 3], [4, 5, 0, 0], [6, 7, 8, 9]]


def test_every_kind_of_the_config_can_be_built():
    assert set(get_args(get_type_hints(ProjectorConfig)["kind"])) == set(PROJECTORS)


@pytest.mark.parametrize("settings", [{"factor": 2}, {"width": 8}, {"kind": "pooled", "factor": 0}])
def test_settings_without_effect_or_out_of_range_are_refused(settings):
    with pytest.raises(RecipeError, match=r"projector\.factor"):
        ProjectorConfig(**settings)
