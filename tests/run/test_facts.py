import json
from types import SimpleNamespace

import pytest

from audio_lm.config.load import load_recipe
from audio_lm.run.facts import command_to_resume, facts_of_run, realised_shares, settings_that_differ
from audio_lm.run.folder import RunFolder

SETTINGS = ["stages.pretrain.mixture.weights.sec=4", "stages.pretrain.steps=5", "resume=auto", "seed=1"]


def facts(recipe, folder, *overrides):
    composed = load_recipe(recipe, list(overrides))
    plans = {
        name: SimpleNamespace(
            leaves=[SimpleNamespace(task=task) for task in stage.mixture.weights],
            expected_clips=[3 for _ in stage.mixture.weights],
        )
        for name, stage in composed.recipe.stages.items()
    }
    return facts_of_run(composed, RunFolder(folder), plans)


def test_a_run_is_named_after_settings_that_results_depend_on(small_recipe, tmp_path):
    assert facts(small_recipe, tmp_path).run_name() == "small"
    assert facts(small_recipe, tmp_path, *SETTINGS).run_name() == "small sec=4 pretrain.steps=5 seed=1"
    assert facts(small_recipe, tmp_path, "hardware.num_threads=2", "resume=auto").run_name() == "small"


def test_weights_have_parameters_with_their_stage_and_other_settings_are_parameters(small_recipe, tmp_path):
    params = facts(small_recipe, tmp_path, *SETTINGS).all_params()
    assert params["weight/pretrain/sec"] == "4"
    assert params["pretrain.steps"] == "5"
    assert "sec" not in params
    assert len(params) < 20


def test_further_parameters_are_those_of_the_recipe_and_change_no_signature(small_recipe, tmp_path):
    given = 'tracking.params={trial: "003", share/sec: "0.25"}'
    params = facts(small_recipe, tmp_path, given).all_params()
    assert (params["trial"], params["share/sec"]) == ("003", "0.25")
    plain, with_params = load_recipe(small_recipe), load_recipe(small_recipe, [given])
    assert with_params.signature == plain.signature
    assert "params" not in plain.tree["tracking"], "as in earlier releases"


def test_a_long_value_is_shortened_and_a_masked_one_is_left_out(small_recipe, tmp_path):
    long, token = f"{'x' * 30}{'y' * 30}", f"hf_{'a' * 30}"
    changed = [f"model.encoder.load={long}", f"model.language_model.load={token}"]
    given = dict(settings_that_differ(load_recipe(small_recipe, changed)))
    assert given == {"model.encoder.load": "xxxxxxxxxx...yyyyyyyyyy"}
    assert token not in facts(small_recipe, tmp_path, *changed).words[0]


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["train.py", "recipes/demo.yaml"], "python train.py recipes/demo.yaml resume=auto"),
        (
            ["/x/audio_lm/cli/main.py", "train", "demo", "--out", "a b"],
            "audio-lm train demo --out 'a b' resume=auto",
        ),
        (["audio-lm", "train", "demo", "resume=auto"], "audio-lm train demo resume=auto"),
        (
            ["audio-lm", "train", "demo", "model.token=abc"],
            "audio-lm train demo 'model.token=***' resume=auto",
        ),
        (["/x/pytest", "-q"], ""),
        ([""], ""),
    ],
)
def test_the_command_to_go_on_is_that_of_the_start(arguments, command):
    assert command_to_resume(arguments) == command


def test_a_resumed_run_knows_the_realised_shares_of_its_trained_stages(small_recipe, tmp_path):
    (tmp_path / "stages/pretrain").mkdir(parents=True)
    rows = [{"task": "sec", "source": name, "realised_share": 0.25} for name in ("a", "b")]
    (tmp_path / "stages/pretrain/mixture.json").write_text(json.dumps({"leaves": rows}))
    assert realised_shares(rows) == {"sec": 0.5}
    assert facts(small_recipe, tmp_path).shares() == {"share/pretrain/sec": 0.5}


@pytest.mark.parametrize("loaded", [None, "openai/whisper-tiny"])
def test_the_model_is_described_in_a_few_words(small_recipe, tmp_path, loaded):
    changed = [] if loaded is None else [f"model.encoder.load={loaded}"]
    words = facts(small_recipe, tmp_path, *changed).words
    assert words[0].startswith(f"model {loaded or 'whisper 2x'}")
