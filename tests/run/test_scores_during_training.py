import json
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console

from audio_lm.config.load import load_recipe
from audio_lm.evaluation.answer_log import Answer
from audio_lm.pipeline import benchmark_jobs
from audio_lm.run import scores_during_training
from audio_lm.run.scores_during_training import ScoresDuringTraining, SubsetScorer
from audio_lm.run.train import train
from tests.forked import on_ranks, together
from tests.run.observed_run import run_training, write_recipe

OFTEN = ["only=[pretrain]", "stages.pretrain.score_every=2", "stages.pretrain.score_max_share=1"]


def curves(folder):
    """Step -> scores of a stage's curves."""
    found = {}
    for line in (folder / "stages/pretrain/metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        values = {name: value for name, value in record["values"].items() if name.startswith("score_")}
        values.pop("score_time/share", None)
        if values:
            found[record["step"]] = values
    return found


def test_weights_are_bit_equal_with_and_without_scores(small_recipe, whole_run, tmp_path):
    folder = train(load_recipe(small_recipe, OFTEN), out=tmp_path / "run", console=Console(quiet=True))
    found = curves(folder.path)
    assert list(found) == [2, 4, 6]
    scores = json.loads(folder.scores.read_text())
    assert found[6] == {"score_acc/events": scores["events/acc"]}
    files = sorted(whole_run.model("pretrain").glob("*.safetensors"))
    assert len(files) == 4
    for file in files:
        assert (folder.model("pretrain") / file.name).read_bytes() == file.read_bytes()
    text = (folder.path / "run.log").read_text()
    assert "pretrain: scored 3 times during training" in text


def test_a_stage_without_benchmarks_says_that_nothing_is_scored(small_recipe, tmp_path):
    overrides = [*OFTEN, "stages.pretrain.steps=2", "~evaluation.benchmarks.events", "~published"]
    folder = train(load_recipe(small_recipe, overrides), out=tmp_path / "run", console=Console(quiet=True))
    text = (folder.path / "run.log").read_text()
    assert "score_every=2 has no effect, because no benchmark is of this stage" in text


class Session:
    """Session of a run without a folder."""

    config = SimpleNamespace(first_step_seconds=60)
    is_lost = False

    def __init__(self, stops_after=None):
        self.num_packs, self.stops_after, self.lines = 0, stops_after, []
        self.heartbeat = SimpleNamespace(
            tick=lambda: None, within=lambda *_: nullcontext(), patience=60, phase=lambda *_: None
        )

    def is_stopping(self):
        self.num_packs += 1
        return self.stops_after is not None and self.num_packs > self.stops_after

    def agree(self, number):
        return number

    def limit_collectives(self, seconds):
        pass

    def print(self, line):
        self.lines.append(line)


@contextmanager
def generating():
    yield


@pytest.fixture
def make_scorer(small, own_vocabulary, monkeypatch):
    """Function that makes a scorer whose model knows the answers of every third clip."""
    evaluation = small.evaluation
    benchmark = replace(
        evaluation.benchmarks["events"], source="synthetic/events-train", metrics=["acc", "wer"]
    )
    recipe = replace(small, evaluation=replace(evaluation, benchmarks={"seen": benchmark}))
    answered = []

    def answer_pack(model, jobs, keys):
        answered.extend(keys)
        references = {one.cut_id: one.references[0] for _, one in jobs.questions[""]}
        return {key: Answer(references[key] if int(key[-1]) % 3 == 0 else "nothing") for key in keys}

    monkeypatch.setattr(scores_during_training, "answer_pack", answer_pack)
    monkeypatch.setattr(benchmark_jobs, "PROMPT_PACK_TOKENS", 120)

    def make(num_clips=64, **more):
        stage = replace(recipe.stages["pretrain"], score_clips=num_clips)
        changed = replace(recipe, stages=recipe.stages | {"pretrain": stage})
        models = SimpleNamespace(model=None, is_sharded=False, generating=generating)
        scorer = SubsetScorer(changed, "pretrain", own_vocabulary, models=models, session=Session(**more))
        return scorer, answered

    return make


def test_ranks_answer_parts_and_the_scores_are_those_of_one(make_scorer):
    scorer, answered = make_scorer(9)
    alone = scorer.scores()
    assert 0 < alone["score_acc/seen"] < 1
    ids = [*answered]
    assert len(ids) == 9

    def work(rank):
        answered.clear()
        return scorer.scores(), [*answered]

    (first, own), (second, others) = on_ranks(2, together(work))
    assert first == alone
    assert second == {}
    assert own
    assert others
    assert sorted(own + others) == sorted(ids)


def test_the_subset_is_fixed_and_does_not_follow_the_order_of_the_cuts(make_scorer):
    scorer, answered = make_scorer(5)
    assert scorer.scores() == scorer.scores()
    assert answered[5:] == answered[:5]
    first = sorted(answered[:5])
    assert first[-1] != "events-train-00004"


def test_a_signal_to_stop_ends_the_scores_on_all_ranks(make_scorer):
    scorer, answered = make_scorer(9, stops_after=1)
    assert scorer.scores() is None
    assert 0 < len(answered) < 9

    def work(rank):
        scorer.session = Session(stops_after=0 if rank else None)
        return scorer.scores()

    assert on_ranks(2, together(work)) == [None, None]


class Costly:
    """Scorer that takes two seconds of a clock of the test."""

    def __init__(self, clock):
        self.clock = clock

    def scores(self):
        self.clock.now += 2.0
        return {"score_acc/seen": 0.5}


class Clock:
    now = 100.0

    def monotonic(self):
        return self.now


@pytest.mark.parametrize(
    ("share", "steps"), [(0.05, [10, 80, 120, 160, 200]), (1.0, list(range(10, 201, 10)))]
)
def test_scores_become_rarer_where_they_take_more_than_their_share(small, monkeypatch, share, steps):
    clock, logged, session = Clock(), {}, Session()
    monkeypatch.setattr(scores_during_training, "time", clock)
    stage = replace(small.stages["pretrain"], score_every=10, score_max_share=share)
    logger = SimpleNamespace(log_metrics=lambda values, step: logged.update({step: values}))
    callback = ScoresDuringTraining("pretrain", stage, Costly(clock), logger=logger, session=session)
    trainer = SimpleNamespace(global_step=0)
    callback.on_train_start(trainer, None)
    for step in range(1, 201):
        trainer.global_step, clock.now = step, clock.now + 1
        callback.on_train_batch_end(trainer, None)
    assert list(logged) == steps
    assert logged[200]["score_time/share"] <= share
    assert callback.sentence().startswith(f"pretrain: scored {len(steps)} times during training")
    assert len(session.lines) == (share < 1)
    if session.lines:
        assert session.lines == [
            "pretrain: scores take 2 s, over 5 % of the time of score_every=10 steps, so some are left out; raise it, "
            "or lower score_clips"
        ]


@pytest.mark.slow
def test_scores_are_equal_on_one_rank_and_on_two(small, tmp_path, monkeypatch):
    """A model that learns, so that the scores change from step to step."""
    monkeypatch.setattr(benchmark_jobs, "PROMPT_PACK_TOKENS", 120)
    path = write_recipe(tmp_path / "scored.yaml", small)
    parts = ("encoder", "projector", "new_tokens", "language_model")
    overrides = [
        *(f"stages.pretrain.parts.{part}.lr=1e-2" for part in parts),
        "stages.pretrain.schedule.warmup_steps=2",
        "stages.pretrain.steps=40",
        "stages.pretrain.validate_every=0",
        "stages.pretrain.checkpoint_every=40",
        "stages.pretrain.score_every=8",
        "stages.pretrain.score_max_share=1",
        "+evaluation.benchmarks.seen={source: synthetic/events-train, task: sec, metrics: [acc, wer], prompt: tags, "
        "stage: pretrain, max_new_tokens: 12}",
    ]
    for ranks in (1, 2):
        run_training(path, tmp_path / str(ranks), ranks, *overrides)
    one, two = curves(tmp_path / "1"), curves(tmp_path / "2")
    assert list(one) == [8, 16, 24, 32, 40]
    assert len({str(values) for values in one.values()}) > 1
    assert one == two
