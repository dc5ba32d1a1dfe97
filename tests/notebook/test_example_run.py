from pathlib import Path

from audio_lm.notebook.example_run import CLIPS, STEPS, example_recipe, example_run


def test_the_recipe_is_the_demo_with_all_its_files_in_one_folder(tmp_path):
    recipe = example_recipe(tmp_path).recipe
    assert [*recipe.stages] == ["language", "pretrain", "chat", "prefer"]
    assert {stage.steps for stage in recipe.stages.values()} == {STEPS}
    assert set(recipe.corpora["synthetic"]["clips"].values()) == {CLIPS}
    assert Path(recipe.data_dir).parent == tmp_path
    assert str(tmp_path) in recipe.tracking.uri
    assert recipe.model.encoder.sizes.width == 32


def test_a_finished_run_is_taken_as_it_is(tmp_path, monkeypatch):
    composed = example_recipe(tmp_path)
    run = tmp_path / "run"
    for name in composed.recipe.stages:
        (run / "stages" / name / "model").mkdir(parents=True)
        (run / "stages" / name / "status.json").write_text('{"finished": true}')
    (run / "scores.json").write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    assert example_run(tmp_path) == run
    assert sorted(tmp_path.rglob("*")) == before
