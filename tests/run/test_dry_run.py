from audio_lm.config.load import load_recipe
from audio_lm.run.dry_run import training_files


def test_every_place_that_a_run_writes_to_is_named(small_recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    composed = load_recipe(small_recipe, ["only=[pretrain]"])
    lines = list(training_files(composed, tmp_path / "out"))
    assert any(line.startswith("corpus synthetic: ") for line in lines)
    assert f"run folder: {tmp_path / 'out'} (new)" in lines
    assert any("stages/pretrain: 6 steps" in line for line in lines)
    assert not any("stages/chat" in line for line in lines), "only one stage is trained"
    assert any(line.startswith("curves: sqlite:///") for line in lines)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_exists_would_be_continued_or_refused(small_recipe, tmp_path):
    (tmp_path / "recipe.yaml").write_text("name: small\n")
    refused = list(training_files(load_recipe(small_recipe), tmp_path))
    assert any("it is refused without resume=auto" in line for line in refused)
    continued = list(training_files(load_recipe(small_recipe, ["resume=auto"]), tmp_path))
    assert any("it would be continued" in line for line in continued)
