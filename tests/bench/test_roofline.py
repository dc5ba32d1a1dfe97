"""Shortest possible time of a step: bytes counted by hand, and the longer of operations and bytes."""

import pytest
import torch

from audio_lm.bench import roofline
from audio_lm.bench.roofline import Phase, Rates, measure_rates, step_phases, weight_bytes
from audio_lm.bench.step import STAGES, Bench, build_ours
from tests.bench.test_step import MODEL

CPU = torch.device("cpu")
VOCABULARY = 500


def model_of(stage):
    return build_ours(Bench(model=MODEL, num_ids=VOCABULARY, stage=stage), CPU)


def values_in(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("flops", "num_bytes", "seconds"), [(100.0, 10.0, 10.0), (100.0, 90.0, 45.0), (0.0, 4.0, 2.0)]
)
def test_the_longer_of_operations_and_bytes_counts(flops, num_bytes, seconds):
    assert Phase(flops, num_bytes).seconds(Rates(flops_per_s=10.0, bytes_per_s=2.0)) == seconds


@pytest.mark.parametrize(
    ("stage", "encoder", "projector", "language_model", "table"),
    [("encoder", 3, 3, 2, 0), ("llm", 1, 1, 3, 1), ("all", 3, 3, 3, 1)],
)
def test_weights_are_read_forward_and_backward_and_their_gradients_written(
    stage, encoder, projector, language_model, table
):
    model = model_of(stage)
    rows = VOCABULARY * 64
    values = encoder * values_in(model.encoder) + projector * values_in(model.projector)
    values += language_model * (values_in(model.language_model) - rows) + table * rows
    assert weight_bytes(model, STAGES[stage]) == 4 * values


def test_the_updates_of_lora_have_all_passes_and_the_frozen_weights_two():
    model = model_of("lora")
    updates = sum(weight.numel() for name, weight in model.named_parameters() if "lora_" in name)
    frozen = values_in(model.language_model) - updates - VOCABULARY * 64
    values = values_in(model.encoder) + 3 * values_in(model.projector) + 3 * updates + 2 * frozen
    assert weight_bytes(model, STAGES["lora"]) == 4 * values


def test_phases_have_saved_activations_twice_and_seven_values_of_adamw():
    model = model_of("encoder")
    phases = step_phases(model, STAGES["encoder"], flops=5.0, saved_bytes=1000.0)
    assert phases["passes"].flops == 5.0
    assert phases["passes"].num_bytes == weight_bytes(model, STAGES["encoder"]) + 2000.0
    trained = values_in(model.encoder) + values_in(model.projector)
    assert phases["optimizer"] == Phase(0.0, 7 * 4 * trained)


def test_the_rates_of_this_machine_are_measured(monkeypatch):
    monkeypatch.setattr(roofline, "MATRIX_WIDTH", 256)
    monkeypatch.setattr(roofline, "COPIED_VALUES", 1 << 20)
    seconds = iter([10.0, 2.0, 4.0])  # of both products, and of the copy
    monkeypatch.setattr(roofline, "_median_seconds", lambda run, _: (run(), next(seconds))[1])
    rates = measure_rates(CPU)
    assert rates.flops_per_s == 2 * 256**3 / 2.0, "the faster product counts"
    assert rates.bytes_per_s == 2 * 4 * (1 << 20) / 4.0, "a copy reads and writes"


def test_the_clock_counts_the_time_of_this_process_on_a_cpu():
    start = roofline.clock(CPU)
    matrix = torch.ones(300, 300)
    while roofline.clock(CPU) - start < 0.01:
        matrix @ matrix
    assert roofline.clock(CPU) > start
