from audio_lm.cli import demo
from audio_lm.config.load import load_recipe
from audio_lm.corpora.synthetic import speech_synthesis
from tests.run.command import run


def test_the_demo_is_the_recipe_of_that_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(speech_synthesis, "has_synthesizer", lambda: True)
    assert run("demo", "use.scale=tiny", "--dry-run") == 0
    signature = load_recipe("demo", ["use.scale=tiny"]).signature
    output = capsys.readouterr().out
    assert f"run folder: runs/demo-{signature} (new)" in output
    assert not list(tmp_path.iterdir())


def test_without_the_package_that_speaks_the_demo_has_no_speech_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(speech_synthesis, "has_synthesizer", lambda: False)
    given = []
    monkeypatch.setattr(demo, "train", lambda recipe, overrides, **_: given.extend(overrides))
    assert run("demo", "seed=1") == 0
    assert "pip install 'audio-lm[speech]'" in capsys.readouterr().out
    assert given[0] == "seed=1"
    recipe = load_recipe("demo", given).recipe
    assert list(recipe.stages["pretrain"].mixture.sources) == ["sec", "mna"]
    assert list(recipe.evaluation.benchmarks) == [
        "events_label", "notes_analysis", "dialogues_answer", "several_answer", "preferences_answer",
    ]  # fmt: skip
