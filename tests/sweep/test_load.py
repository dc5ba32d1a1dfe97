import re

import pytest

from audio_lm.common.errors import RecipeError
from audio_lm.sweep.load import load_sweep, sweep_names
from tests.sweep.small_sweeps import write_recipe, write_sweep

SCENES = "        my/scenes-train: {hours: 10, clips: 12000}\n"


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def problems_of(path, *overrides):
    with pytest.raises(RecipeError) as found:
        load_sweep(path, overrides)
    return str(found.value)


def test_a_sweep_has_its_base_recipe_space_and_sizes(tmp_path):
    sweep = load_sweep(write_sweep(tmp_path))
    assert sweep.name == "small"
    assert sweep.stage == "pretrain"
    assert sweep.space.names == ("sec", "mna", "mgr")
    assert sweep.shares.of_recipe == pytest.approx({"sec": 0.5, "mna": 0.25, "mgr": 0.25})
    assert {leaf.task: leaf.num_rows for leaf in sweep.sizes.leaves}["mgr"] == 1200
    assert re.fullmatch(r"sweeps/small-[0-9a-f]{8}", str(sweep.folder))


def test_bounds_are_shares_of_the_whole_mixture(tmp_path):
    bounds = "\n    min: {sec: 0.1}\n    max: {mgr: 0.4}"
    sweep = load_sweep(
        write_sweep(tmp_path, replace={"over: [sec, mna, mgr]": f"over: [sec, mna, mgr]{bounds}"})
    )
    assert sweep.shares.total == pytest.approx(0.8)
    assert sweep.shares.low == pytest.approx((0.125, 0, 0))
    assert sweep.shares.high == pytest.approx((1, 1, 0.5))


def test_the_signature_covers_what_decides_the_trials(tmp_path):
    signature = load_sweep(write_sweep(tmp_path)).signature
    changes = {
        "another seed": "seed: 1\n",
        "another budget": "budget: {steps: 50}\n",
        "another override": "overrides: [stages.pretrain.pack_tokens=3000]\n",
        "more trials": "design: {trials: 20}\n",
    }
    for name, more in changes.items():
        assert load_sweep(write_sweep(tmp_path, more)).signature != signature, name
    watched = load_sweep(
        write_sweep(tmp_path, replace={"val_loss/sec: {direction: min}": "val_loss/sec: {weight: 3}"})
    )
    assert watched.signature == signature, "the objective can change without new trials"
    assert load_sweep(write_sweep(tmp_path, "name: other\n")).signature == signature


def test_all_problems_are_reported_at_once_with_their_lines(tmp_path):
    changes = {
        "over: [sec, mna, mgr]": "over: [sec, mnaa, mgr]\n    min: {sek: 0.1, sec: 0.95}",
        "val_loss/sec: {direction: min}": "val_loss/seq: {direction: min}",
        "events/acc: {direction: max}": "events/acc: {direction: min}",
    }
    message = problems_of(
        write_sweep(tmp_path, "budgett: {steps: 3}\ndesign: {divisions: 3}\n", replace=changes)
    )
    assert message.startswith("7 problems in sweep small.yaml:"), message
    expected = [
        r"small\.yaml:12: `budgett`",
        r"small\.yaml:6: `vary\.shares\.over` - unknown task or group 'mnaa'. Did you mean 'mna'\?",
        r"small\.yaml:7: `vary\.shares\.min\.sek` - unknown task or group 'sek'. Did you mean 'sec'\?",
        r"small\.yaml:7: `vary\.shares\.min` - sums to 1\.05, over the whole mixture",
        r"small\.yaml:\d+: `metrics\.val_loss/seq` - unknown metric 'val_loss/seq'. Did you mean 'val_loss/sec'\?",
        r"small\.yaml:\d+: `metrics\.events/acc` - direction is min, but larger values are better; set direction: max",
        r"small\.yaml:\d+: `design\.divisions` - has no effect with kind: dirichlet",
    ]
    for pattern in expected:
        assert re.search(pattern, message), (pattern, message)


def test_a_base_recipe_that_fails_plan_is_refused_beside_the_other_problems(tmp_path):
    write_recipe(tmp_path, replace={SCENES: ""})
    message = problems_of(write_sweep(tmp_path))
    assert re.search(
        r"small\.yaml:2: `recipe` - fails `audio-lm plan`: cut-set 'my/scenes-train' is not prepared", message
    )
    both = problems_of(
        write_sweep(tmp_path, replace={"val_loss/mna: {direction: min}": "val_loss/nma: {direction: min}"})
    )
    assert "fails `audio-lm plan`" in both
    assert "unknown metric 'val_loss/nma'" in both


def test_a_base_recipe_that_does_not_load_is_refused_with_its_problems(tmp_path):
    message = problems_of(write_sweep(tmp_path, "overrides: [stages.pretrain.stepz=3]\n"))
    assert "small.yaml:2: `recipe`" in message
    assert "stepz" in message
    assert "unknown recipe 'basis'" in problems_of(write_sweep(tmp_path, replace={"base.yaml": "basis"}))


IMPOSSIBLE = {
    "smallest shares over the varied part": (
        "min: {sec: 0.5, mna: 0.4}",
        r"`vary\.shares\.min` - sums to 0\.9, and the varied tasks have 0\.8 of the mixture; lower",
    ),
    "largest shares under the varied part": (
        "max: {sec: 0.2, mna: 0.2, mgr: 0.2}",
        r"`vary\.shares\.max` - sums to 0\.6, and the varied tasks have 0\.8 of the mixture; raise",
    ),
    "smallest over largest": (
        "min: {sec: 0.5}\n    max: {sec: 0.3}",
        r"`vary\.shares\.min\.sec` - 0\.5 is over max 0\.3",
    ),
    "one mixture left": ("min: {sec: 0.4, mna: 0.2, mgr: 0.2}", "leave one mixture only"),
    "too few epochs": ("max_epochs: 0.001", r"max_epochs 0\.001 leaves no mixture: it allows at most sec"),
}


@pytest.mark.parametrize(("bounds", "message"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_bounds_that_leave_nothing_to_vary_are_refused(tmp_path, bounds, message):
    path = write_sweep(tmp_path, replace={"over: [sec, mna, mgr]": f"over: [sec, mna, mgr]\n    {bounds}"})
    assert re.search(message, problems_of(path))


def test_more_repetition_allows_larger_shares(tmp_path):
    def high(epochs):
        change = {"over: [sec, mna, mgr]": f"over: [sec, mna, mgr]\n    max_epochs: {epochs}"}
        return dict(
            zip(
                ("sec", "mna", "mgr"),
                load_sweep(write_sweep(tmp_path, replace=change)).shares.high,
                strict=True,
            )
        )

    few, many = high(0.5), high(1.2)
    assert few["mgr"] < many["mgr"] < 1, "its data is a tenth of the others'"
    assert few["sec"] == many["sec"] == 1


def test_a_metric_that_is_validated_nowhere_is_refused(tmp_path):
    message = problems_of(write_sweep(tmp_path, replace={"val_loss/sec": "val_loss/mgr"}))
    assert "unknown metric 'val_loss/mgr'" in message
    write_recipe(tmp_path, replace={"    validation:\n": "    max_validation_clips: 0\n    validation:\n"})
    assert "has no validation data" in problems_of(write_sweep(tmp_path))


@pytest.mark.parametrize("setting", ["budget: {steps: 5}\n", "overrides: [stages.pretrain.steps=5, {}]\n"])
def test_trials_that_are_too_short_to_be_validated_are_refused(tmp_path, setting):
    every = "stages.pretrain.validate_every=6"
    more = setting.replace("{}", every) if "{}" in setting else f"{setting}overrides: [{every}]\n"
    with pytest.raises(RecipeError, match="a trial has 5 steps and validates every 6"):
        load_sweep(write_sweep(tmp_path, more))


def test_folders_elsewhere_can_be_named_on_the_command_line_only(tmp_path):
    elsewhere = tmp_path.parent / "elsewhere"
    path = write_sweep(tmp_path, f"overrides: ['tracking.uri=sqlite:///{elsewhere}/mlflow.db']\n")
    assert re.search(r"small\.yaml:\d+: `tracking\.uri` is", problems_of(path))
    load_sweep(path, [f"tracking.uri=sqlite:///{elsewhere}/mlflow.db"])


def test_varied_keys_are_checked_with_every_value(tmp_path):
    keys = "\nvary:\n  keys:\n    stages.pretrain.prompt: {values: [tags, nature]}\n    hardware.devices: {values: [1, 2]}\n"
    keys += "    seed: {values: [1, 2]}\n    stages.pretrain.parts.encoder.lr: {log_range: [1e-2, 1e-4]}\n"
    path = tmp_path / "keys.yaml"
    write_recipe(tmp_path)
    path.write_text(f"recipe: base.yaml{keys}metrics: {{val_loss/sec: {{}}}}\n")
    message = problems_of(path)
    for expected in (
        r"keys\.yaml:\d+: `vary\.keys\.stages\.pretrain\.prompt` - .*nature",
        r"`vary\.keys\.hardware\.devices` - does not affect the trained weights",
        r"`vary\.keys\.seed` - is the same in all trials",
        r"log_range is \[0\.01, 0\.0001\]; write \[smallest, largest\]",
    ):
        assert re.search(expected, message), (expected, message)


def test_an_unknown_sweep_is_named_with_the_closest_one(tmp_path):
    assert "demo_mixture" in sweep_names()
    assert "unknown sweep 'demo_mixtur'. Did you mean 'demo_mixture'?" in problems_of("demo_mixtur")


def test_the_full_size_recipe_needs_the_same_tasks(tmp_path):
    without = {", asc: [my/scenes-train]": "", ", asc: 1": "", SCENES: ""}
    write_recipe(tmp_path, "full", steps=10_000, replace=without)
    message = problems_of(write_sweep(tmp_path, "match_epochs_of: full.yaml\n"))
    assert "`match_epochs_of` - its stage 'pretrain' has other tasks than the base recipe: ['asc']" in message


def test_the_full_size_recipe_cannot_have_another_corpus_in_the_same_folder(tmp_path):
    corpora = "corpora: {{synthetic: {{clips: {{events: {clips}}}}}}}\nstages:\n"
    for name, clips in (("base", 10), ("full", 100)):
        write_recipe(tmp_path, name, replace={"stages:\n": corpora.format(clips=clips)})
    message = problems_of(write_sweep(tmp_path, "match_epochs_of: full.yaml\n"))
    assert "corpus 'synthetic' has other settings there" in message
