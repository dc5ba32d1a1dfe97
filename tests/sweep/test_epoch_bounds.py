import pytest

from audio_lm.sweep.load import load_sweep
from tests.sweep.small_sweeps import write_sweep


@pytest.mark.parametrize("unit", ["tokens", "clips"])
def test_a_source_at_its_largest_share_has_the_allowed_number_of_epochs(tmp_path, monkeypatch, unit):
    monkeypatch.chdir(tmp_path)
    change = {"over: [sec, mna, mgr]": "over: [sec, mna, mgr]\n    max_epochs: 1.5"}
    override = f"overrides: [stages.pretrain.mixture.weight_by={unit}]\n"
    sweep = load_sweep(write_sweep(tmp_path, override, replace=change))
    high = dict(zip(sweep.space.names, sweep.shares.high, strict=True))
    assert high["sec"] == 1
    rest = 1 - high["mgr"]
    point = {"mgr": high["mgr"], "sec": rest * 2 / 3, "mna": rest / 3}
    assert sweep.epochs(point)["mgr", "my/melodies-train"] == pytest.approx(1.5, rel=0.01)
    assert sweep.allows(point)
    more = {"mgr": high["mgr"] + 0.02, "sec": point["sec"] - 0.02, "mna": point["mna"]}
    assert not sweep.allows(more)
