from dataclasses import replace

import pytest
import torch

from audio_lm.common.errors import RecipeError
from audio_lm.model.decoder.new_tokens import NewTokens
from audio_lm.pipeline.model import build_audio_lm, rates_of
from audio_lm.training.config import PartConfig


def test_equal_seeds_give_equal_models(small, own_vocabulary):
    first, second = (build_audio_lm(small, own_vocabulary).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_every_stage_gives_every_parameter_a_rate_or_freezes_it(small, own_vocabulary):
    model = build_audio_lm(small, own_vocabulary)
    rates = rates_of(small, model)
    names = {name for name, _ in model.named_parameters()}
    assert all(set(of_stage) == names for of_stage in rates.values())


def test_a_stage_whose_trained_part_is_empty_is_refused(small, own_vocabulary):
    """A published tokenizer has every token of chat, and ``new_tokens`` then has no rows."""
    model = build_audio_lm(small, own_vocabulary)
    stage = small.stages["pretrain"]
    parts = {part: replace(config, lr=None) for part, config in stage.parts.items()}
    only_new = replace(small, stages={"s": replace(stage, parts=parts | {"new_tokens": PartConfig(lr=1e-3)})})
    assert rates_of(only_new, model)
    model.new_tokens = NewTokens(0, model.new_tokens.input.shape[1])
    with pytest.raises(RecipeError, match=r"stage 's': nothing learns.*\['new_tokens'\] have no values"):
        rates_of(only_new, model)
