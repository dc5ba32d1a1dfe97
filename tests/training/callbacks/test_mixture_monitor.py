import json

import pytest

from audio_lm.data.collate import Collator
from audio_lm.data.examples import ExampleMaker, with_example
from audio_lm.training.callbacks.mixture_monitor import MixtureMonitor

ASR, SGC = ("asr", "made/noise-train"), ("sgc", "made/noise-train")


@pytest.fixture
def packs(make_cuts, vocabulary):
    maker = ExampleMaker(vocabulary, "tags")
    cuts = [
        with_example(cut, maker.example(cut, task, source="made/noise-train"))
        for cut in make_cuts(3)
        for task in ("asr", "asr", "sgc")
    ]
    return (Collator()(cuts[:4]), Collator()(cuts[4:]))


class FakeTrainer:
    """Trainer at a step, and its logger."""

    def __init__(self, step):
        self.global_step = step
        self.logged = {}
        self.loggers = [self]

    def log_metrics(self, metrics, step):
        self.logged[step] = metrics


def monitor_of(folder, **settings):
    return MixtureMonitor(folder, planned={ASR: 0.5, SGC: 0.5}, num_rows={ASR: 3, SGC: 3}, **settings)


def test_clips_trained_on_are_counted_by_task(packs, tmp_path):
    monitor, trainer = monitor_of(tmp_path, log_every=1), FakeTrainer(1)
    monitor.on_train_batch_end(trainer, None, None, packs, 0)
    metrics = trainer.logged[1]
    assert metrics["share_clips/asr"] == pytest.approx(2 / 3)
    assert metrics["share_seconds/sgc"] == pytest.approx(1 / 3)
    assert all(name.count("/") == 1 for name in metrics)
    learned = sum(pack.num_learned for pack in packs)
    assert (
        monitor.counts_of_source[ASR]["learned_tokens"] + monitor.counts_of_source[SGC]["learned_tokens"]
        == learned
    )
    tokens = sum(len(pack.token_ids) for pack in packs)
    assert monitor.counts_of_source[ASR]["tokens"] + monitor.counts_of_source[SGC]["tokens"] == tokens
    assert metrics["passes/asr made noise-train"] == pytest.approx(2.0)


def test_planned_and_realised_shares_are_written_side_by_side(packs, tmp_path):
    first = monitor_of(tmp_path)
    first.on_train_batch_end(FakeTrainer(1), None, None, packs, 0)
    monitor = monitor_of(tmp_path)
    monitor.load_state_dict(json.loads(json.dumps(first.state_dict())))
    monitor.on_train_batch_end(FakeTrainer(1), None, None, packs, 0)
    monitor.save()
    rows = {row["task"]: row for row in json.loads((tmp_path / "mixture.json").read_text())["leaves"]}
    assert rows["asr"]["clips"] == 12
    assert rows["asr"]["planned_share"] == 0.5
    assert rows["asr"]["realised_share"] == pytest.approx(2 / 3)
    assert rows["sgc"]["passes"] == pytest.approx(2.0)
