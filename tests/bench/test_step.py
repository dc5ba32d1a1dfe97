from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from audio_lm.bench import roofline, step
from audio_lm.bench.batches import make_batches
from audio_lm.bench.step import STAGES, Bench, Side, bench_step
from audio_lm.common.errors import RecipeError
from audio_lm.model.config import EncoderConfig, LanguageModelConfig, ModelConfig

CPU = torch.device("cpu")
MODEL = ModelConfig(
    encoder=EncoderConfig(num_mels=80, width=64, num_layers=2, num_heads=2, mlp_width=160),
    language_model=LanguageModelConfig(
        settings={
            "hidden_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "intermediate_size": 176,
            "max_position_embeddings": 2048,
        }
    ),
)
TINY = Bench(model=MODEL, num_ids=500, clips=3, peer_batch=2, batches=1, rounds=1)


@pytest.fixture
def quick_rates(monkeypatch):
    """Measure the speed of the machine with a smaller product and copy."""
    monkeypatch.setattr(roofline, "MATRIX_WIDTH", 256)
    monkeypatch.setattr(roofline, "COPIED_VALUES", 1 << 20)


@pytest.mark.usefixtures("quick_rates")
@pytest.mark.parametrize("stage", sorted(STAGES))
def test_both_models_compute_the_same_and_ours_saves_fewer_bytes(stage):
    figures = bench_step(replace(TINY, stage=stage))
    assert figures.loss_difference < 1e-5
    assert figures.gradient_difference < 1e-4
    assert figures.saved_ratio > 1
    assert figures.ratio > 0
    assert figures.useful_mfu == pytest.approx(figures.useful_flops_per_s / figures.matrix_flops_per_s)
    assert set(figures.roofline_s) == {"passes", "optimizer"}
    assert figures.roofline_share == pytest.approx(sum(figures.roofline_s.values()) / figures.ours_s)
    assert sum(figures.time_shares.values()) == pytest.approx(1.0)


def test_different_computations_are_not_compared(monkeypatch):
    def different(peer, batch):
        peer.model.model.multi_modal_projector.linear.bias.data.add_(1.0)
        return step_losses(peer, batch)

    step_losses = step.their_losses
    monkeypatch.setattr(step, "their_losses", different)
    with pytest.raises(RuntimeError, match="times of different computations are not compared"):
        bench_step(TINY)


@pytest.mark.parametrize("stage", sorted(STAGES))
@pytest.mark.parametrize(("num_ids", "clips"), [(300, 4), (4_000, 2)])
def test_the_planned_peak_memory_matches_the_measured_peak(stage, num_ids, clips):
    bench = replace(TINY, stage=stage, num_ids=num_ids, clips=clips)
    model = step.build_ours(bench, CPU)
    batch = make_batches(1, clips, 2, num_ids, CPU)[0]
    measured = Side(model, partial(step.our_losses, model), CPU).peak_bytes(batch)
    assert step.planned_peak(bench, model, batch.pack) == pytest.approx(measured, rel=0.1)


def test_an_unknown_stage_is_rejected_with_the_list_of_stages():
    with pytest.raises(RecipeError, match="encoder"):
        Bench(stage="enocder")


def test_frozen_parts_share_memory_between_the_models():
    bench = replace(TINY, stage="encoder")
    ours = step.build_ours(bench, CPU)
    theirs = step.build_peer(ours, bench.model, audio_id=499).model
    assert isinstance(theirs, nn.Module)
    head = ours.language_model.get_output_embeddings().weight
    assert theirs.lm_head.weight.data_ptr() == head.data_ptr()
    assert theirs.model.audio_tower.conv1.weight.data_ptr() != ours.encoder.conv1.weight.data_ptr()
