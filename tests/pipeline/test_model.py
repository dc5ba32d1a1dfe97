import torch

from audio_lm.pipeline.model import build_audio_lm, rates_of


def test_equal_seeds_give_equal_models(small, own_vocabulary):
    first, second = (build_audio_lm(small, own_vocabulary).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_every_stage_gives_every_parameter_a_rate_or_freezes_it(small, own_vocabulary):
    model = build_audio_lm(small, own_vocabulary)
    rates = rates_of(small, model)
    names = {name for name, _ in model.named_parameters()}
    assert all(set(of_stage) == names for of_stage in rates.values())
