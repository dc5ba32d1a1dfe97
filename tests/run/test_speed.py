"""Measurement of speeds: nothing that is trained changes."""

import random

import numpy as np
import pytest
import torch

from audio_lm.config.load import load_recipe
from audio_lm.data.mixture.schedule import Cursor
from audio_lm.pipeline.model import build_audio_lm, rates_of
from audio_lm.pipeline.plan_stage import plan_stage
from audio_lm.run import speed
from audio_lm.run.prepare import Prepared


@pytest.fixture
def prepared(small, small_sources, own_vocabulary):
    plans = {
        name: plan_stage(small, stage, small_sources[name], own_vocabulary)
        for name, stage in small.stages.items()
    }
    model = build_audio_lm(small, own_vocabulary)
    return Prepared(small_sources, plans, own_vocabulary, model, rates_of(small, model))


def random_state():
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()


def state_of(model):
    values = {name: value.clone() for name, value in model.state_dict().items()}
    return values, [p.requires_grad for p in model.parameters()], [m.training for m in model.modules()]


def test_a_measured_stage_leaves_weights_modes_and_random_states_as_they_were(small, prepared, tmp_path):
    for name in small.stages:
        weights, *others = state_of(prepared.model)
        states = random_state()
        found = speed.measure_stage(small, name, prepared, (prepared.plans[name], Cursor()), tmp_path / name)
        assert found.step > 0
        assert found.copy > 0
        assert (found.validation > 0) == (name == "pretrain"), "only this stage is validated"
        after, *others_after = state_of(prepared.model)
        assert all(torch.equal(weights[key], after[key]) for key in weights)
        assert others_after == others
        assert random_state() == states
        assert all(parameter.grad is None for parameter in prepared.model.parameters())
        assert not (tmp_path / name).exists(), "nothing is written"


def test_weights_that_a_measurement_trains_are_restored_also_after_an_error(prepared):
    model = prepared.model
    name, parameter = next(iter(model.named_parameters()))
    before = parameter.detach().clone()

    def fail():
        with torch.no_grad():
            parameter.add_(1)
        raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"), speed.unchanged(model, [name]):
        fail()
    assert torch.equal(parameter, before)


def test_a_stop_signal_ends_the_measurement(small, prepared, tmp_path):
    start = (prepared.plans["chat"], Cursor())
    assert speed.measure_stage(small, "chat", prepared, start, tmp_path, lambda: True) is None


def test_the_size_of_a_benchmark_counts_prompts_and_references(small, prepared):
    benchmark = small.evaluation.benchmarks["events"]
    size = speed.size_of_benchmark(small, benchmark, prepared.vocabulary)
    assert size.num_questions == 4
    assert size.prompt_tokens > 5
    assert 1 < size.new_tokens <= benchmark.max_new_tokens == 4
    answers = speed.measure_answers(small, benchmark, prepared.model, prepared.vocabulary)
    assert answers.prompt_token > 0
    assert size.seconds(answers, new_tokens=40) >= size.seconds(answers) > 0


def test_sharded_and_compiled_models_are_not_measured(small_recipe):
    def is_measurable(*overrides):
        return speed.is_measurable(load_recipe(small_recipe, overrides).recipe)

    assert is_measurable()
    assert not is_measurable("hardware.compile=true")
    assert not is_measurable("hardware.sharding=fsdp", "hardware.devices=2")
