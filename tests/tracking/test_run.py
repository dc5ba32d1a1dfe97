import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from matplotlib.figure import Figure

from audio_lm.common.errors import UserError
from audio_lm.tracking.config import TrackingConfig
from audio_lm.tracking.event_log.names import safe_name
from audio_lm.tracking.event_log.provenance import InputCutSet
from audio_lm.tracking.facts import NOTE_TAG, RunFacts, StageFacts, TaskFacts
from audio_lm.tracking.mlflow.client import PARENT_TAG, MlflowSync
from audio_lm.tracking.mlflow.sync import sync
from audio_lm.tracking.run import open_recipe_run
from tests.tracking.stalls import assert_none_stalls, stalls_of

FACTS = RunFacts(
    recipe="digits",
    settings={"lr": "0.0001"},
    params={"lr": "0.0001"},
    stages=(
        StageFacts(
            "pretrain", 3, (TaskFacts("asr", 3, 0.75), TaskFacts("lid", 1, 0.25)), {"digits_asr": "asr"}
        ),
        StageFacts("chat", 3, (TaskFacts("chat", 1, 1.0),), {"answers": "chat"}),
    ),
)
FOLDER = Path("runs/digits-1a2b3c4d")  # of the test's working folder
pytestmark = pytest.mark.usefixtures("in_process_sync")


@pytest.fixture
def start(uri, tmp_path):
    """Function that opens the run of a recipe."""

    def open_run(resume=False, lr=1e-4, facts=FACTS):
        return open_recipe_run(
            TrackingConfig(),
            facts=facts,
            folder=FOLDER.absolute(),
            recipe_yaml="name: digits\n",
            settings={"optimizer": {"lr": lr}},
            resume=resume,
        )

    return open_run


def history(client, run_id, name):
    return [(point.step, point.value) for point in client.get_metric_history(run_id, name)]


def runs(client):
    return client.search_runs([client.get_experiment_by_name("digits").experiment_id])


def test_stages_are_child_runs_of_the_recipe_and_end_with_it(start, client):
    with start() as run:
        for name in ("pretrain", "chat"):
            run.stage(name, params={"steps": 3}).log_metrics({"loss/asr": 1.0}, 1)
        run.log_metrics({"test/fsdd/digits/wer": 0.1})
    kinds = {mlflow_run.data.tags["kind"]: mlflow_run for mlflow_run in runs(client)}
    stages = [mlflow_run for mlflow_run in runs(client) if mlflow_run.data.tags.get(PARENT_TAG) == run.run_id]
    assert {mlflow_run.info.run_name for mlflow_run in stages} == {"pretrain", "chat"}
    assert kinds["recipe"].info.run_id == run.run_id
    assert kinds["recipe"].info.run_name == "digits lr=0.0001"
    assert {mlflow_run.info.status for mlflow_run in runs(client)} == {"FINISHED"}
    assert history(client, run.run_id, "test/fsdd/digits/wer") == [(0, 0.1)]
    assert stages[0].data.params == {"steps": "3"}


@pytest.mark.parametrize(("ends", "status"), [(True, "FINISHED"), (False, "FAILED")])
def test_a_stage_reopened_for_evaluation_is_finished_even_if_a_later_stage_fails(start, client, ends, status):
    with start() as run:
        run.end_stage("pretrain")

    def fail_in_the_next_stage():
        with start(resume=True) as run:
            run.stage("pretrain").log_metrics({"test/fsdd/digits/wer": 0.1})
            if ends:
                run.end_stage("pretrain")
                run.end_stage("chat")
            run.stage("chat")
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        fail_in_the_next_stage()
    status_of = {mlflow_run.info.run_name: mlflow_run.info.status for mlflow_run in runs(client)}
    assert (status_of["pretrain"], status_of["chat"]) == (status, "FAILED")


@pytest.mark.parametrize(("is_ours", "written"), [(True, {"FINISHED"}), (False, set())])
def test_a_run_taken_over_by_another_launch_is_not_closed(start, tmp_path, is_ours, written):
    with start() as run:
        run.stage("pretrain")
        run._journal.is_ours = lambda: is_ours
    entries = [json.loads(line) for line in (run.root / "tracking.jsonl").read_text().splitlines()]
    assert {entry["status"] for entry in entries if entry["kind"] == "end"} == written


def test_restarts_continue_one_run_without_gaps_or_repeats(start, client, tmp_path):
    def fail_at_step_5():
        with start() as run:
            logger = run.stage("pretrain")
            for step in range(1, 6):
                logger.log_metrics({"loss": float(step)}, step)
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        fail_at_step_5()
    assert {mlflow_run.info.status for mlflow_run in runs(client)} == {"FAILED"}
    with start(resume=True, lr=2e-4) as run:
        logger = run.stage("pretrain")
        run._sync_process.send_new()
        assert client.get_run(logger.run_id).info.status == "RUNNING"
        for step in range(4, 9):
            logger.log_metrics({"loss": float(step)}, step)
    assert len(runs(client)) == 2
    assert history(client, logger.run_id, "loss") == [(step, float(step)) for step in range(1, 9)]
    recipe = client.get_run(run.run_id)
    assert "optimizer.lr" not in recipe.data.params, "the whole recipe is a file"
    assert recipe.data.tags["resume.changed"] == "optimizer.lr"
    (table,) = (tmp_path / "runs" / "digits-1a2b3c4d" / "resume").iterdir()
    assert json.loads(table.read_text())["data"] == [["optimizer.lr", "0.0001", "0.0002"]]
    ids = (tmp_path / "runs" / "digits-1a2b3c4d" / "mlflow.txt").read_text()
    assert f"recipe: {run.run_id}" in ids
    assert f"stages/pretrain: {logger.run_id}" in ids


def test_without_resume_a_new_run_is_created(start, client):
    with start() as first:
        first.stage("pretrain").log_metrics({"loss": 1.0}, 5)
    first_id = first.run_id
    with start() as second:
        second.stage("pretrain").log_metrics({"loss": 2.0}, 5)
    assert None not in (first_id, second.run_id)
    assert first_id != second.run_id
    assert first.run_id is None, "its journal was replaced"
    assert history(client, second.stage("pretrain").run_id, "loss") == [(5, 2.0)]


def test_metrics_logged_during_an_outage_are_sent_after_a_restart(start, client, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        with start() as run:
            run.stage("pretrain").log_metrics({"loss": 1.0}, 1)
    with start(resume=True) as run:
        run.stage("pretrain").log_metrics({"loss": 2.0}, 2)
    assert history(client, run.stage("pretrain").run_id, "loss") == [(1, 1.0), (2, 2.0)]


def test_an_unreachable_server_neither_raises_nor_stalls(start, warnings_logged, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with start() as run:
        logger = run.stage("pretrain")
        assert_none_stalls(stalls_of(lambda step: logger.log_metrics({"loss": 1.0}, step), range(500)))
        run.log_text("<p>hello", "report/samples.html")
        run.log_inputs([])
        logger.finalize("success")
    folder = tmp_path / "runs" / "digits-1a2b3c4d"
    lines = (folder / "stages/pretrain/metrics.jsonl").read_text().splitlines()
    assert len(lines) == 1 + 500, "a header and the metrics"
    assert (folder / "report/samples.html").read_text() == "<p>hello"
    (warning,) = warnings_logged()
    assert "audio-lm track sync" in warning


def test_values_that_are_not_finite_and_invalid_names_are_logged(start, client):
    with start() as run:
        logger = run.stage("pretrain")
        logger.log_metrics({"task:asr/loss": 1.0, "norm": math.inf, "loss": math.nan, "perte \u00e9": 1.0}, 1)
    metrics = client.get_run(logger.run_id).data.metrics
    assert metrics == {
        safe_name("task:asr/loss"): 1.0, safe_name("perte \u00e9"): 1.0, "nonfinite/norm": 1.0, "nonfinite/loss": 1.0
    }  # fmt: skip


def test_files_tables_figures_and_inputs_are_in_the_folder_and_in_mlflow(start, client, tmp_path):
    with start() as run:
        run.log_figure(Figure(), "pictures/mixture.png")
        run.log_table([{"id": "a", "answer": "\u4e03"}, {"id": "b", "wer": 0.5}], "eval/asr.json")
        run.log_table([{"id": "a", "answer": "\u4e03"}], "eval/asr.json")
        run.log_inputs(
            [InputCutSet(name="a/b", path=tmp_path, digest="0", hours=1, num_cuts=1, context="test")]
        )
        run.log_artifact(tmp_path / "absent.txt")
    paths = {artifact.path for artifact in client.list_artifacts(run.run_id)}
    assert {"recipe.yaml", "pictures", "eval", "provenance"} <= paths
    folder = tmp_path / "runs" / "digits-1a2b3c4d"
    assert (folder / "pictures/mixture.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "recipe.yaml").read_text() == "name: digits\n"
    table = client.load_table(client.get_run(run.run_id).info.experiment_id, "eval/asr.json", [run.run_id])
    assert table["answer"].tolist() == ["\u4e03"]
    assert len(client.get_run(run.run_id).inputs.dataset_inputs) == 1


class LinearModule(LightningModule):
    def __init__(self, stop=None):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        self.stop = stop
        self.save_hyperparameters({"width": 2})

    def training_step(self, batch, batch_idx):
        if self.stop is not None and self.global_step == 2:
            raise self.stop
        loss = self.layer(batch).square().mean()
        self.log("loss/asr", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.ones(8, 2), batch_size=1)


def fit(logger, folder, stop=None):
    trainer = Trainer(
        max_steps=4, logger=logger, accelerator="cpu", log_every_n_steps=1, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(LinearModule(stop))


@pytest.mark.filterwarnings("ignore")
def test_lightning_logs_to_the_stage_and_saves_in_its_folder(start, client, tmp_path):
    with start() as run:
        logger = run.stage("pretrain")
        fit(logger, tmp_path)
    mlflow_run = client.get_run(logger.run_id)
    assert mlflow_run.info.status == "FINISHED"
    assert mlflow_run.data.params == {"width": "2"}
    assert set(mlflow_run.data.metrics) == {"loss/asr"}
    assert len(history(client, logger.run_id, "loss/asr")) == 4
    assert list((tmp_path / "runs/digits-1a2b3c4d/stages/pretrain/checkpoints").iterdir())
    assert not (tmp_path / "lightning_logs").exists()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("stop", "raised", "status"),
    [(KeyboardInterrupt(), SystemExit, "KILLED"), (RuntimeError("shape"), RuntimeError, "FAILED")],
)
def test_ctrl_c_is_killed_and_an_error_is_failed(start, client, tmp_path, stop, raised, status):
    run = start()

    def train():
        with run:
            fit(run.stage("pretrain"), tmp_path, stop)

    with pytest.raises(raised):
        train()
    assert {mlflow_run.info.status for mlflow_run in runs(client)} == {status}


class PreemptedError(Exception):
    reason = SimpleNamespace(code=75)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("error", "status"),
    [(PreemptedError(), "KILLED"), (KeyboardInterrupt(), "KILLED"), (OSError(), "FAILED")],
)
def test_a_stage_that_training_leaves_early_ends_like_its_run_and_resumes_as_one_run(
    start, client, tmp_path, error, status
):
    """At a signal the trainer returns as after its last step; the session raises later."""

    def train():
        with start() as run:
            run.stage("pretrain")
            run.end_stage("pretrain")
            fit(run.stage("chat"), tmp_path)
            raise error

    with pytest.raises(type(error)):
        train()
    kept = {mlflow_run.info.run_name: mlflow_run.info for mlflow_run in runs(client)}
    assert {name: info.status for name, info in kept.items()} == {
        FACTS.run_name(): status, "pretrain": "FINISHED", "chat": status
    }  # fmt: skip
    with start(resume=True) as run:
        run.stage("chat")
        run._sync_process.send_new()
        assert client.get_run(kept["chat"].run_id).info.status == "RUNNING"
        run.end_stage("chat")
    assert {(info.run_id, info.status) for info in (each.info for each in runs(client))} == {
        (info.run_id, "FINISHED") for info in kept.values()
    }


def test_an_interrupted_stage_is_killed_also_if_the_server_was_away(start, uri, client, monkeypatch):
    def stop():
        with start() as run:
            run.stage("chat").log_metrics({"loss": 1.0}, 1)
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        with pytest.raises(KeyboardInterrupt):
            stop()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setattr(MlflowSync, "end_dead_runs", lambda sync: None)
    sync([FOLDER], lambda message: None)
    assert {each.info.status for each in runs(client)} == {"KILLED"}


def test_descriptions_follow_the_run_and_survive_a_resume(start, client):
    with start() as run:
        run.stage("pretrain")
        run.log_shares("pretrain", {"asr": 0.7, "lid": 0.3})
        run.log_metrics({"untrained/digits_asr/wer": 1.0, "digits_asr/wer": 0.1})
    with start(resume=True, facts=FACTS.with_shares("pretrain", {"asr": 0.7, "lid": 0.3})) as run:
        stage = run.stage("pretrain")
    note = client.get_run(run.run_id).data.tags[NOTE_TAG]
    assert note.startswith("Recipe **digits** with **lr=0.0001**")
    assert "digits_asr wer **0.100**" in note
    assert "| digits_asr | wer | 0.100 | 1.000 |" in note
    assert "asr 70.0 %" in note
    assert "digits_asr wer **0.100**" in client.get_run(stage.run_id).data.tags[NOTE_TAG]


def test_a_run_has_few_parameters_and_its_scores_before_baselines_and_shares(start, client):
    with start() as run:
        run.log_shares("pretrain", {"asr": 0.7, "lid": 0.3})
        run.log_metrics({"untrained/digits_asr/wer": 1.0, "digits_asr/wer": 0.1})
    data = client.get_run(run.run_id).data
    assert data.params == FACTS.all_params()
    assert list(data.metrics) == [
        "digits_asr/wer", "untrained/digits_asr/wer", "share/pretrain/asr", "share/pretrain/lid"
    ]  # fmt: skip


def test_other_ranks_log_nothing(start, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with start() as run:
        logger = run.stage("pretrain", params={"steps": 1})
        logger.log_metrics({"loss": 1.0}, 1)
        run.log_text("x", "x.txt")
        run.log_figure(Figure(), "x.png")
        logger.finalize("success")
    assert not (tmp_path / "runs").exists()
    assert logger.save_dir == str(tmp_path / "runs" / "digits-1a2b3c4d" / "stages" / "pretrain")


def test_a_folder_that_cannot_be_created_is_a_user_error(uri, tmp_path):
    (tmp_path / "runs").write_text("a file with the name of the folder")
    with pytest.raises(UserError, match="choose another"):
        open_recipe_run(
            TrackingConfig(),
            facts=RunFacts(recipe="digits"),
            folder=tmp_path / "runs" / "x",
            recipe_yaml="",
            settings={"a": 1},
        )


def test_where_gives_a_command_or_url(start, uri, monkeypatch):
    with start() as run:
        command = f"mlflow ui --backend-store-uri {uri}"
        assert run.where == command
        run._sync_process.send_new()
        page = "#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=audio_lm"
        assert run.where == f"{command}, then http://127.0.0.1:5000/{page}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    with start() as run:
        assert run.where == "http://127.0.0.1:9/#/experiments?workflowType=machine_learning"
