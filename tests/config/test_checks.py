"""Safety of recipes written by others: names, folders, databases and code are checked before anything is written."""

import sqlite3

import pytest
import yaml

from audio_lm.cli.main import main
from audio_lm.common.errors import RecipeError
from audio_lm.config.load import load_recipe
from tests.run.command import run

STAGE = {
    "prompt": "tags",
    "mixture": {"sources": {"asr": ["mine/all-train"]}, "weights": {"asr": 1}},
    "parts": {"encoder": {"lr": 1e-3}, "projector": {"lr": None}},
    "steps": 1,
}
OUTSIDE = ["../../../x", "/tmp/x", "", "..", ".", "a/../../b", "x\\y", "x\0y", ".x", "x" * 500]


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Temporary folder with the working folder ``work`` and the recipe's folder ``theirs``."""
    for name in ("work", "theirs"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def write(work, change=None, **more):
    stage = {**STAGE, **(change or {})}
    tree = {"use": {"model": "tiny", "hardware": "cpu"}, "stages": {"s": stage}, **more}
    path = work / "theirs" / "r.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def benchmark(source="mine/all-test"):
    return {"source": source, "task": "asr", "metrics": ["wer"], "prompt": "tags", "stage": "s"}


def settings_with_name(kind, name):
    """Arguments of ``write`` for a recipe with a name of some kind."""
    mixture = STAGE["mixture"]
    return {
        "stage": {"stages": {name: STAGE}},
        "run": {"name": name},
        "experiment": {"tracking": {"experiment": name}},
        "corpus": {"corpora": {name: {}}},
        "benchmark": {"evaluation": {"benchmarks": {name: benchmark()}}},
        "source": {"change": {"mixture": {**mixture, "sources": {"asr": [name]}}}},
        "validation source": {"change": {"validation": {**mixture, "sources": {"asr": [f"{name}/x-train"]}}}},
        "source of a benchmark": {"evaluation": {"benchmarks": {"b": benchmark(f"{name}/x-test")}}},
        "group": {"change": {"mixture": {**mixture, "groups": {name: ["asr"]}}}},
        "piece": {"use": {"model": name}},
    }[kind]


KINDS = (
    "stage", "run", "experiment", "corpus", "benchmark", "source", "validation source", "source of a benchmark", "group",
    "piece",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_leaves_the_folder_is_refused(kind, name, work):
    with pytest.raises(RecipeError):
        load_recipe(write(work, **settings_with_name(kind, name)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_recipe_leaves_no_files(kind, work, capsys):
    path = write(work, **settings_with_name(kind, "../../x"))
    before = sorted(work.rglob("*"))
    assert run("train", path) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert sorted(work.rglob("*")) == before


def test_valid_names_of_each_kind_are_accepted(work):
    for kind in KINDS:
        name = {"source": "mine/x-train", "piece": "tiny"}.get(kind, "good")
        load_recipe(write(work, **settings_with_name(kind, name)))


@pytest.mark.parametrize("command", ["describe", "plan", "submit"])
def test_all_commands_refuse_an_unsafe_name(command, work, capsys):
    assert run(command, write(work, stages={"../x": STAGE})) == 2
    assert "stage '../x': a name starts with" in capsys.readouterr().err


@pytest.mark.parametrize(
    "data_dir",
    ["/elsewhere", "..", "../data", "data/../../x", ".ssh", "{work}/elsewhere", "~/../../x", "data/.hidden"],
)
def test_a_data_folder_outside_the_allowed_folders_is_refused(data_dir, work):
    with pytest.raises(RecipeError, match=r"theirs/r.yaml:1: `data_dir` is .*on the command line"):
        load_recipe(write(work, data_dir=data_dir.format(work=work)))


def test_data_folders_of_the_user_are_accepted(work):
    for data_dir in ("data", ".", "deep/data", str(work / "work" / "data"), str(work / "theirs" / "data")):
        load_recipe(write(work, data_dir=data_dir))
    assert load_recipe(write(work), ["data_dir=/elsewhere"]).recipe.data_dir == "/elsewhere"
    (work / "data" / "mine").mkdir(parents=True)
    (work / "data" / "mine" / "all-train.jsonl").write_text("")
    load_recipe(write(work, data_dir=str(work / "data")))  # it has a cut-set of the recipe


def test_a_symbolic_link_may_point_anywhere(work):
    (work / "disk").mkdir()
    (work / "work" / "data").symlink_to(work / "disk")
    load_recipe(write(work, data_dir="data"))


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:////elsewhere/x.db", "sqlite:///../x.db", "sqlite:///.ssh/x.db", "sqlite+pysqlite:////elsewhere/x.db",
        "sqlite:////elsewhere/x.db?mode=rw", "sqlite:///{work}/known.db",
    ],
)  # fmt: skip
def test_a_database_outside_the_allowed_folders_is_refused(uri, work):
    with sqlite3.connect(work / "known.db") as database:
        database.execute("create table cookies (value)")
    with pytest.raises(RecipeError, match=r"theirs/r.yaml:\d+: .*(tracking.uri|tracking URI)"):
        load_recipe(write(work, tracking={"uri": uri.format(work=work)}))


def test_mlflow_stores_of_the_user_are_accepted(work):
    load_recipe(write(work, tracking={"uri": "sqlite:///mlflow.db"}))
    load_recipe(write(work, tracking={"uri": "http://127.0.0.1:5000"}))
    load_recipe(write(work), ["tracking.uri=sqlite:////elsewhere/x.db"])
    load_recipe(
        write(work, tracking={"uri": "sqlite:////elsewhere/x.db"}),
        ["tracking={uri: sqlite:////elsewhere/y.db}"],
    )
    with sqlite3.connect(work / "known.db") as database:
        database.executescript("create table experiments (a); create table runs (a);")
    load_recipe(write(work, tracking={"uri": f"sqlite:///{work}/known.db"}))


def test_databricks_experiments_may_start_with_a_slash(work):
    load_recipe(write(work, tracking={"uri": "databricks", "experiment": "/Users/me@here/first"}))
    with pytest.raises(RecipeError, match="experiment"):
        load_recipe(write(work, tracking={"uri": "databricks", "experiment": "/Users/../x"}))


LOADED = {"language_model": {"load": "somebody/model"}, "trust_remote_code": True}


def test_remote_code_needs_the_recipe_and_the_command_line(work):
    path = write(work, model=LOADED)
    with pytest.raises(RecipeError, match=r"r.yaml:\d+: `model.trust_remote_code` is true.*add --trust-code"):
        load_recipe(path)
    with pytest.raises(RecipeError, match="add --trust-code"):
        load_recipe(
            write(work, model={**LOADED, "trust_remote_code": False}), ["model.trust_remote_code=true"]
        )
    assert load_recipe(write(work, model=LOADED), trusts_code=True).recipe.model.trust_remote_code
    assert not load_recipe(write(work), trusts_code=True).recipe.model.trust_remote_code


def test_the_tiny_scale_runs_no_remote_code(work):
    assert not load_recipe(write(work, model=LOADED), ["use.scale=tiny"]).recipe.model.trust_remote_code


def test_all_commands_that_load_a_model_need_trust_code(work, capsys):
    path = write(work, model=LOADED)
    for command in ("train", "plan", "describe", "submit"):
        assert run(command, path) == 2
        assert "add --trust-code" in capsys.readouterr().err
    kept = work / "run" / "recipe.yaml"
    (work / "run" / "stages" / "s" / "replay").mkdir(parents=True)
    kept.write_text(load_recipe(path, trusts_code=True).text)
    for arguments in (("evaluate", work / "run"), ("export", work / "run", work / "exported")):
        assert run(*arguments) == 2
        assert "add --trust-code" in capsys.readouterr().err
    assert run("report", work / "run") == 2
    assert "no scores yet" in capsys.readouterr().err, "report loads no model"


def test_trust_code_is_passed_to_the_ranks_and_the_slurm_job(work, capsys, monkeypatch):
    path = write(work, {"packs_per_step": 2}, model=LOADED, hardware={"devices": 2})
    calls = []

    def fake_exec(num_devices, arguments):
        calls.append(arguments)
        raise SystemExit

    monkeypatch.setattr("audio_lm.fault_tolerance.torchrun.exec_torchrun", fake_exec)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(SystemExit):
        main(["train", str(path), "--trust-code"])
    assert "--trust-code" in calls[0]
    assert run("submit", path, "--trust-code", "--dry-run") == 0
    assert " --trust-code " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"encoder": {"lr": None}, "projector": {"lr": None}},
            "stage 's': nothing learns, since all parts have lr: null",
        ),
        (
            {"encoder": {"lr": 1e-3, "from_step": 5}, "projector": {"lr": None}},
            "stage 's': no part is trained before step 5",
        ),
    ],
)
def test_a_stage_without_trained_parts_is_refused(parts, message, work):
    with pytest.raises(RecipeError, match=rf"r.yaml:\d+: {message}"):
        load_recipe(write(work, {"parts": parts}))


@pytest.mark.parametrize(
    "value",
    [
        "${data_dir}",
        "${a}${a}",
        "${oc.decode:x}",
        "${oc.env:HOME}${data_dir}",
        "${oc.env:${oc.env:X}}",
        "${",
        "\\${x}",
    ],
)
def test_values_may_only_refer_to_environment_variables(value, work, monkeypatch):
    with pytest.raises(
        RecipeError, match=r"theirs/r.yaml:\d+: .*only supported reference is \$\{oc.env:NAME\}"
    ):
        load_recipe(write(work, audio_roots=["a", value]))
    monkeypatch.setenv("HERE", "there")
    assert load_recipe(write(work, audio_roots=["${oc.env:HERE}/x"])).recipe.audio_roots == ["there/x"]


NUMBERS = (
    "seed: -5", "seed: 1.5e308", "seed: 4294967296", "model: {tokenizer: {vocab_size: 1000000000}}",
    "published: {a: {b: .nan}}",
    "published: {a: {b: .inf}}", "hardware: {devices: 0}", "hardware: {devices: -1}", "fault_tolerance: {frozen_seconds: .nan}",
    "model: {encoder: {dropout: .nan}}", "model: {encoder: {width: 1000000000}}", "tracking: {num_listening_clips: -1}",
    "model: {language_model: {settings: {hidden_size: .inf}}}",
    "model: {language_model: {settings: {num_hidden_layers: 2000}}}",
    "model: {language_model: {settings: {hidden_size: 1000000000}}}", "corpora: {synthetic: {seed: -1}}", "seed: 1e400",
)  # fmt: skip
OF_A_STAGE = (
    "parts: {encoder: {lr: .nan}}", "parts: {encoder: {lr: -1}}", "parts: {encoder: {lr: .inf}}", "parts: {encoder: {lr: nan}}",
    "max_bad_fraction: .nan", "max_bad_fraction: 1.5", "steps: 0", "steps: 99999999999", "pack_tokens: -1", "packs_per_step: 0",
    "optimizer: {clip: .nan}", "optimizer: {betas: [0.9, 1.5]}", "schedule: {min_lr: -1e-3}", "validate_every: -1",
    "mixture: {sources: {asr: [a/b]}, weights: {asr: .nan}}", "mixture: {sources: {asr: [a/b]}, weights: {asr: -1}}",
    "mixture: {sources: {asr: [a/b]}, weights: {asr: 1}, schedule: {asr: [[0, .nan]]}}", "spec_augment: {time_share: 2}",
    "checkpoints: {every_minutes: .inf}", "parts: {encoder: {lr: 1, layer_decay: .nan}}",
)  # fmt: skip


@pytest.mark.parametrize("line", [*NUMBERS, *(f"stages:\n  s: {{{line}}}" for line in OF_A_STAGE)])
def test_a_number_out_of_range_is_refused_with_file_and_line(line, work):
    path = write(work)
    tree = yaml.safe_load(path.read_text())
    more = yaml.safe_load(line)
    for key, value in more.items():
        if key == "stages":
            tree["stages"]["s"] |= value["s"]
        else:
            tree[key] = value
    path.write_text(yaml.safe_dump(tree))
    with pytest.raises(RecipeError, match=r"theirs/r.yaml:\d+: ") as refused:
        load_recipe(path)
    assert len(str(refused.value).splitlines()) == 1
    with pytest.raises(RecipeError):
        load_recipe(write(work), _overrides(more))


def _overrides(tree):
    from audio_lm.config.yaml_layers import flatten

    return [
        f"+{key}={yaml.safe_dump(value).removesuffix('...' + chr(10)).strip()}"
        for key, value in flatten(tree)
    ]


IN_TAGS = (
    "+evaluation.benchmarks.events={source: a/b-test, task: sec, metrics: [acc], prompt: tags, stage: chat}"
)


def test_a_benchmark_with_untrained_tags_is_refused():
    with pytest.raises(RecipeError) as caught:
        load_recipe("own_chats", [IN_TAGS])
    message = str(caught.value)
    assert "\n" not in message
    for words in (
        "command line: benchmark 'events' has prompt: tags, whose tokens no stage trains",
        "(chatml)",
        "set evaluation.benchmarks.events.prompt",
    ):
        assert words in message, words
    for prompt in ("natural", "chatml"):
        load_recipe("own_chats", [IN_TAGS.replace("tags", prompt)])
    load_recipe("own_chats", [IN_TAGS, "stages.chat.prompt=tags"])
    load_recipe("own_chats", [IN_TAGS, "model.tokenizer.load=somewhere"])  # its tokenizer may have tags


def test_the_recipe_of_a_run_with_such_a_benchmark_can_be_loaded(tmp_path):
    path = tmp_path / "recipe.yaml"
    text = load_recipe("own_chats", [IN_TAGS.replace("tags", "natural")]).text
    path.write_text(text.replace("prompt: natural", "prompt: tags"))
    assert load_recipe(path, is_complete=True).recipe.evaluation.benchmarks["events"].prompt == "tags"
