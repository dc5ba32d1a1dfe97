from pathlib import Path

import pytest
import yaml

from audio_lm.common.errors import RecipeError
from audio_lm.config import resources
from audio_lm.config.load import load_recipe, override_keys, recipe_names
from audio_lm.config.schema import Recipe

GOOD = """
use: {model: small, hardware: cpu}
stages:
  pretrain:
    prompt: tags
    mixture: words
    parts:
      encoder: {lr: 1e-3}
    steps: 10
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Folder with its own ``recipes/`` and ``conf/``."""
    pieces = {
        "conf/model/small.yaml": "encoder: {width: 16}\ntokenizer: {vocab_size: 300}",
        "conf/hardware/cpu.yaml": "accelerator: cpu",
        "conf/scale/tiny.yaml": 'model: {encoder: {width: 8}}\nstages: {"*": {steps: 2}}',
        "conf/mixture/words.yaml": "sources: {asr: [c/a-train]}\nweights: {asr: 1}",
        "recipes/good.yaml": GOOD,
    }
    for name, text in pieces.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(resources, "resource_folder", lambda kind: tmp_path / kind)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(project, text):
    (project / "recipes" / "good.yaml").write_text(text)


def test_layers_have_the_documented_precedence(project):
    assert load_recipe("good").recipe.model.encoder.width == 16
    assert load_recipe("good", ["use.scale=tiny"]).recipe.model.encoder.width == 8
    assert load_recipe("good", ["use.scale=tiny", "model.encoder.width=4"]).recipe.model.encoder.width == 4
    write(project, GOOD + "model: {encoder: {width: 12}}")
    assert load_recipe("good").recipe.model.encoder.width == 12
    assert load_recipe("good").recipe.model.tokenizer.vocab_size == 300


def test_a_scale_applies_to_all_stages(project):
    assert load_recipe("good", ["use.scale=tiny"]).recipe.stages["pretrain"].steps == 2


def test_a_table_of_a_scale_applies_to_the_stages_that_have_it(project):
    path = project / "conf" / "scale" / "tiny.yaml"
    path.write_text('stages: {"*": {steps: 2, grpo: {num_answers: 2}}}')
    assert load_recipe("good", ["use.scale=tiny"]).recipe.stages["pretrain"].grpo is None
    write(
        project,
        GOOD + "    objective: grpo\n    spec_augment: null\n    grpo: {rewards: {acc: 1}, num_answers: 8}\n",
    )
    stage = load_recipe("good", ["use.scale=tiny"]).recipe.stages["pretrain"]
    assert (stage.steps, stage.grpo.num_answers, stage.grpo.rewards) == (2, 2, {"acc": 1})


def test_a_number_is_converted_to_the_literal_of_the_schema(project):
    write(project, GOOD + "hardware: {precision: 32}\n")
    assert load_recipe("good").recipe.hardware.precision == "32"
    assert load_recipe("good", ["hardware.precision=32"]).recipe.hardware.precision == "32"
    with pytest.raises(RecipeError, match="'16', expected one of"):
        load_recipe("good", ["hardware.precision=16"])


def test_a_mixture_is_given_by_name_or_as_a_table(project):
    assert load_recipe("good").recipe.stages["pretrain"].mixture.sources == {"asr": ["c/a-train"]}
    write(
        project, GOOD.replace("mixture: words", "mixture: {sources: {lid: [c/b-train]}, weights: {lid: 1}}")
    )
    assert load_recipe("good").recipe.stages["pretrain"].mixture.weights == {"lid": 1.0}


def test_values_have_their_file_and_line(project):
    where = load_recipe("good", ["seed=3"]).where
    assert where["stages.pretrain.steps"] == "recipes/good.yaml:9"
    assert where["model.encoder.width"] == "conf/model/small.yaml:1"
    assert where["seed"] == "command line"
    assert where["stages.pretrain.mixture.weights.asr"] == "conf/mixture/words.yaml:2"


def test_all_problems_are_reported_at_once_with_file_and_line(project):
    write(project, GOOD.replace("steps: 10", "step: 10\n    pack_tokens: many") + "sed: 1\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe("good")
    message = str(caught.value)
    for words in (
        "recipes/good.yaml:9",
        "'step'",
        "recipes/good.yaml:10",
        "pack_tokens",
        "recipes/good.yaml:11",
        "'sed'",
    ):
        assert words in message, words


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("model: small", "model: smal"), "Did you mean 'small'"),
        (("mixture: words", "mixture: word"), "Did you mean 'words'"),
        (("lr: 1e-3", "lr: fast"), "could not be converted"),
        (("prompt: tags", "prompt: tag"), "tags"),
        (("steps: 10", "steps: 0"), "1 or more"),
        (("hardware: cpu", "hardwear: cpu"), "Did you mean 'hardware'"),
        (("steps: 10", ""), "stages.pretrain.steps"),
    ],
)
def test_the_message_names_the_fault(project, change, words):
    write(project, GOOD.replace(*change))
    with pytest.raises(RecipeError, match=words):
        load_recipe("good")


@pytest.mark.parametrize("name", ["../small", "a/b", "{path: '" + "x" * 300 + "/b'}", '"/"'])
def test_a_piece_that_is_no_name_is_answered_with_the_known_names(project, name):
    write(project, GOOD.replace("model: small", f"model: {name}"))
    with pytest.raises(RecipeError, match=r"(Known: |Did you mean ')small"):
        load_recipe("good")


def test_a_set_of_benchmarks_has_its_guard_and_published_scores(project):
    (project / "conf/benchmarks").mkdir(exist_ok=True)
    (project / "conf/benchmarks/words.yaml").write_text(
        "benchmarks: {a: {source: c/a-test, task: asr, metrics: [wer], prompt: tags, stage: pretrain}}\n"
        "published: {a: {wer: 0.1}}\n"
        "guard: {benchmarks: [b]}\n"
    )
    write(project, GOOD.replace("model: small", "model: small, benchmarks: words"))
    with pytest.raises(RecipeError, match=r"words.yaml:3: unknown benchmark 'b'"):
        load_recipe("good")
    (project / "conf/benchmarks/words.yaml").write_text(
        "benchmarks: {a: {source: c/a-test, task: asr, metrics: [wer], prompt: tags, stage: pretrain}}\n"
        "published: {a: {wer: 0.1}}\n"
    )
    recipe = load_recipe("good").recipe
    assert [*recipe.evaluation.benchmarks] == ["a"]
    assert recipe.published == {"a": {"wer": 0.1}}


def test_an_unknown_task_is_reported_with_file_and_line(project):
    (project / "conf/mixture/words.yaml").write_text("sources: {ars: [c/a-train]}\nweights: {ars: 1}")
    with pytest.raises(RecipeError, match=r"words.yaml:1: unknown task 'ars'. Did you mean 'asr'"):
        load_recipe("good")


def test_a_weight_without_source_is_refused(project):
    (project / "conf/mixture/words.yaml").write_text("sources: {asr: [c/a-train]}\nweights: {asr: 1, lid: 1}")
    with pytest.raises(RecipeError, match=r"no source for \['lid'\]"):
        load_recipe("good")


def test_facts_of_a_source_without_clips_are_refused(project):
    facts = "facts: {c/a-train: {hours: 1, clips: 0}}"  # its mean length would be a division by zero
    (project / "conf/mixture/words.yaml").write_text(
        f"sources: {{asr: [c/a-train]}}\nweights: {{asr: 1}}\n{facts}\n"
    )
    with pytest.raises(RecipeError, match=r"words.yaml:3.*clips.*1 or more"):
        load_recipe("good")


def test_an_unknown_recipe_is_answered_with_the_closest_name(project):
    with pytest.raises(RecipeError, match="Did you mean 'good'"):
        load_recipe("godo")
    assert recipe_names() == ["good"]


def test_an_open_table_accepts_new_entries_only_with_a_plus(project):
    with pytest.raises(RecipeError, match=r"did you mean 'pretrain'.*add a new one with \+stages.pretrian"):
        load_recipe("good", ["stages.pretrian={}"])
    composed = load_recipe("good", ["+stages.pretrain.parts.projector={lr: 1e-4}"])
    assert composed.recipe.stages["pretrain"].parts["projector"].lr == 1e-4


def test_a_table_can_be_replaced_and_an_entry_deleted(project):
    override = "stages.pretrain.parts={_replace_: true, projector: {lr: 1}}"
    assert set(load_recipe("good", [override]).recipe.stages["pretrain"].parts) == {"projector"}
    assert not load_recipe("good", ["~stages.pretrain.parts.encoder"]).recipe.stages["pretrain"].parts
    with pytest.raises(RecipeError, match="no such key"):
        load_recipe("good", ["~stages.sft"])


def test_only_selects_stages_without_changing_the_signature(project):
    composed = load_recipe("good", ["only=[pretrain]"])
    assert composed.recipe.only == ["pretrain"]
    assert composed.signature == load_recipe("good").signature


def test_the_signature_depends_only_on_result_settings(project):
    signature = load_recipe("good").signature
    for override in ("resume=auto", "resume=auto", "stages.pretrain.checkpoints.keep_last=5"):
        assert load_recipe("good", [override]).signature == signature
    assert load_recipe("good", ["seed=1"]).signature != signature


def test_fewer_than_two_kept_checkpoints_are_refused(project):
    with pytest.raises(
        RecipeError, match=r"`stages.pretrain.checkpoints.keep_last` is 1; it must be 2 or more"
    ):
        load_recipe("good", ["stages.pretrain.checkpoints.keep_last=1"])
    with pytest.raises(
        RecipeError, match="`resume` - Invalid value 'last', expected one of \\['never', 'auto', 'segment'\\]"
    ):
        load_recipe("good", ["resume=last"])


def test_a_composed_recipe_can_be_loaded_again(project):
    composed = load_recipe("good", ["seed=5"])
    path = project / "again.yaml"
    path.write_text(composed.text)
    again = load_recipe(path)
    assert (again.recipe, again.signature) == (composed.recipe, composed.signature)
    assert yaml.safe_load(composed.text)["seed"] == 5


def test_the_result_is_frozen_and_plain(project):
    recipe = load_recipe("good").recipe
    assert isinstance(recipe, Recipe)
    assert type(recipe.stages) is dict
    with pytest.raises(AttributeError):
        recipe.seed = 1


def test_an_override_without_a_value_is_refused():
    with pytest.raises(RecipeError, match="not key=value"):
        load_recipe("demo", ["seed"])


def test_keys_for_completion_come_from_schema_and_recipe(project):
    assert "seed" in override_keys(None)
    assert "stages.pretrain.parts.encoder.lr" in override_keys("good")


def test_a_complete_recipe_does_not_merge_its_pieces_again(project):
    (project / "conf/model/small.yaml").write_text(
        "language_model: {settings: {hidden_size: 8, head_dim: 4}}"
    )
    write(project, GOOD + "model: {language_model: {settings: {_replace_: true, hidden_size: 12}}}")
    composed = load_recipe("good")
    kept = project / "recipe.yaml"
    kept.write_text(composed.text)
    again = load_recipe(kept, is_complete=True)
    assert again.recipe == composed.recipe
    assert again.signature == composed.signature
    with_pieces = load_recipe(kept).recipe.model.language_model.settings
    assert with_pieces == {"hidden_size": 12, "head_dim": 4}, "otherwise the pieces are merged below it"


@pytest.fixture
def runs(project, monkeypatch):
    """Function that makes the folder of a run with its recipe."""
    monkeypatch.chdir(project)

    def make(*overrides, name):
        folder = project / "runs" / name
        folder.mkdir(parents=True)
        (folder / "recipe.yaml").write_text(load_recipe("good", overrides).text)
        return Path("runs") / name

    return make


def test_a_run_under_the_signature_of_an_earlier_release_is_found(runs):
    runs("seed=1", name="good-0000aaaa")
    old = runs("stages.pretrain.checkpoint_every=7", name="good-0000bbbb")
    runs(name="good-best-0000cccc")
    runs(name="good-0000dddd.1")
    (Path("runs") / "good-0000eeee").mkdir()
    composed = load_recipe("good")
    own = Path("runs") / f"good-{composed.signature}"
    assert composed.run_path() == own, "a new run"
    for resumed in ("resume=auto", "only=[pretrain]"):
        assert load_recipe("good", [resumed]).run_path() == old
        assert load_recipe("good", [resumed, "seed=2"]).run_path().name not in (
            "good-0000aaaa",
            "good-0000bbbb",
        )
        assert load_recipe("good", [resumed]).run_path(own) == own
    own.mkdir()
    assert load_recipe("good", ["resume=auto"]).run_path() == own
    changed_of_run = {run.name: changed for run, changed in composed.earlier_runs()}
    assert changed_of_run == {"good-0000aaaa": ["seed"], "good-0000bbbb": []}


def test_a_key_that_is_written_only_where_it_is_set_keeps_signatures_and_can_be_set():
    plain = load_recipe("demo")
    assert "adapter" not in plain.tree["model"]
    assert "model.adapter" in override_keys("demo")
    set_here = load_recipe("demo", ["use.model=released_qwen2_audio_7b", "model.adapter=their/adapter"])
    assert set_here.recipe.model.adapter == set_here.tree["model"]["adapter"] == "their/adapter"


def test_rules_of_adapted_shares_are_written_only_where_they_are_set_and_decide_the_result():
    plain, key = load_recipe("demo"), "stages.pretrain.mixture.online"
    assert "online" not in plain.tree["stages"]["pretrain"]["mixture"]
    adapted = load_recipe("demo", [f"{key}.every=25", f"{key}.min_share.sec=0.02"])
    online = adapted.recipe.stages["pretrain"].mixture.online
    assert (online.every, online.min_share) == (25, {"all": 0.01, "sec": 0.02})
    assert adapted.signature != plain.signature
    others = [f"{key}.every=25", f"{key}.min_share.sec=0.02", f"{key}.strength=2"]
    assert load_recipe("demo", others).signature != adapted.signature


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "stages.pretrain.mixture.online.lead_steps=1",
            r"mixture.online.lead_steps is 1, and hardware.num_workers=\d+ reads",
        ),
        ("stages.pretrain.validation.online.every=25", "the shares of validation sources have no effect"),
        ("stages.pretrain.mixture.online.min_share.ars=0.1", r"\['ars'\] are not drawn"),
        ("stages.pretrain.mixture.online.evry=3", "evry"),
    ],
)
def test_rules_of_adapted_shares_that_do_not_fit_are_refused(override, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe("demo", [override])
