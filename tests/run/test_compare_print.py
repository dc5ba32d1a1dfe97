import json

import pytest

from audio_lm.run.compare_print import print_comparison
from tests.run.recorded_runs import record_run


@pytest.fixture
def paths(small_recipe, tmp_path):
    """Two arms of two seeds."""
    ours = [record_run(small_recipe, tmp_path / f"a-{seed}", 30 + seed, f"seed={seed}") for seed in (1, 2)]
    others = [
        record_run(
            small_recipe, tmp_path / f"b-{seed}", 10, f"seed={seed}", "stages.chat.steps=4", "data_dir=x"
        )
        for seed in (1, 2)
    ]
    return ours, others


def test_a_comparison_prints_settings_beside_scores(paths, console):
    print_comparison(*paths, console=console)
    lines = console.export_text().splitlines()
    assert lines[0].startswith("A: small (2 seeds): ")
    settings = {
        line.split()[0]: line.split()[1:] for line in lines if line.startswith(("stages.", "data_dir"))
    }
    assert settings["stages.chat.steps"] == ["3", "4"]
    assert any(line.startswith("other settings") for line in lines)
    assert "95 % interval (t over seeds)" in lines[-2]
    assert "0.788 +- 0.159" in lines[-1]
    assert lines[-1].split()[-6:] == ["+0.538", "0.379", "to", "0.696", "2", "better"]


def test_a_comparison_of_two_runs_names_its_interval(paths, console):
    print_comparison([paths[0][0], paths[0][1]], console=console)
    text = console.export_text()
    assert "(bootstrap over clips)" in text
    assert "noise" in text


def test_a_comparison_as_json(paths, console):
    print_comparison(*paths, as_json=True, console=console)
    (found,) = json.loads(console.export_text())
    assert list(found["ours"]["runs"].values()) == [1, 2]
    assert {"key": "stages.chat.steps", "ours": 3, "other": 4, "affects_result": True} in found["settings"]
    assert found["scores"][0]["kind"] == "t over seeds"
    assert found["scores"][0]["ours"]["num_seeds"] == 2
