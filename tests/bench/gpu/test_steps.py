import pytest

from audio_lm.bench.gpu import steps
from audio_lm.bench.gpu.parts import STEP_PARTS, Task
from audio_lm.bench.gpu.steps import case_of, measure_step
from audio_lm.config.load import load_recipe
from audio_lm.model.memory_estimate import num_parameters

FIGURES = {
    "ours_s",
    "theirs_s",
    "ratio",
    "compiled_ratio",
    "singles_ratio",
    "eager_mfu_of_matrix",
    "planned_bytes",
}


def measured(tmp_path, stage, seconds=100.0):
    task = Task(tmp_path / "figures", seconds, is_rehearsal=True)
    measure_step(task, stage)
    return task.figures


@pytest.mark.parametrize("stage", STEP_PARTS)
def test_a_rehearsal_has_all_figures_and_both_models_agree(stage, tmp_path, monkeypatch):
    monkeypatch.setattr(steps, "compile_layers", lambda model, backend: None)
    figures = measured(tmp_path, stage)
    assert figures.keys() >= FIGURES
    assert figures["loss_difference"] < 1e-3
    assert figures["gradient_difference"] < 0.03, "in 16 bits"
    assert figures["peak_bytes"] > 0


@pytest.mark.slow
def test_compiled_layers_are_measured_too(tmp_path):
    assert measured(tmp_path, "encoder")["compiled_s"] > 0


def test_batches_of_one_are_left_out_where_no_time_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(steps, "compile_layers", lambda model, backend: None)
    figures = measured(tmp_path, "llm", seconds=0.0)
    assert "singles_ratio" not in figures
    assert "no time" in figures["single_note"]


def test_the_cases_have_the_published_sizes():
    sizes = {
        stage: num_parameters(
            case_of(stage, is_rehearsal=False, device="cuda").bench.model, num_base=151_936, num_new=0
        )
        for stage in STEP_PARTS
    }
    assert sizes["encoder"]["encoder"] == pytest.approx(637e6, rel=0.01)
    assert (
        sizes["encoder"]["language_model"]
        == sizes["lora"]["language_model"]
        == pytest.approx(7.7e9, rel=0.01)
    )
    assert sizes["llm"]["language_model"] == pytest.approx(1.78e9, rel=0.01), "1.54 B, and a second table"
    published = load_recipe("demo", ["use.model=qwen2_audio_7b"]).recipe.model.language_model.settings
    assert {key: published[key] for key in steps.SEVEN_B if "position" not in key} == {
        key: value for key, value in steps.SEVEN_B.items() if "position" not in key
    }
