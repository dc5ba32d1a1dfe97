import json

import pytest

from audio_lm.sweep.load import load_sweep
from audio_lm.sweep.trial import Trial
from tests.sweep.small_sweeps import write_sweep


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return load_sweep(
        write_sweep(tmp_path, "overrides: [stages.pretrain.pack_tokens=3000]\n"), ["hardware.devices=2"]
    )


def test_overrides_are_complete_and_in_order(sweep):
    trial = sweep.trial("003", "design", {"sec": 0.25, "mna": 0.5, "mgr": 0.25}, seed=5)
    place = "stages.pretrain.mixture.weights"
    assert trial.overrides == (
        *("stages.pretrain.pack_tokens=3000", "hardware.devices=2"),
        *(f"{place}.sec=0.2", f"{place}.mna=0.4", f"{place}.mgr=0.2", f"{place}.asc=0.2"),
        "seed=5",
    )


def test_a_trial_survives_the_ledger(sweep):
    trial = sweep.trial("000", "recipe", sweep.shares.of_recipe)
    assert Trial.from_json(json.loads(json.dumps(trial.as_json()))) == trial


def test_the_mixture_of_a_point_within_the_bounds_is_allowed(sweep):
    assert sweep.allows({"sec": 1.0, "mna": 0.0, "mgr": 0.0})
    assert not sweep.allows({"sec": 1.2, "mna": -0.2, "mgr": 0.0})
