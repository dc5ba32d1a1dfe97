import json
from dataclasses import replace

import pytest

from audio_lm.common.errors import DataError
from audio_lm.data.audio.faults import Fault
from audio_lm.data.collate import Collator
from audio_lm.data.examples import ExampleMaker, with_example
from audio_lm.tracking.event_log import journal
from audio_lm.training.callbacks import bad_audio
from audio_lm.training.callbacks.bad_audio import BadAudioMonitor
from tests.forked import on_ranks, together


class FakeTrainer:
    """Trainer at a step."""

    loggers = ()

    def __init__(self, step):
        self.global_step = step


@pytest.fixture
def pack(make_cuts, vocabulary):
    maker = ExampleMaker(vocabulary, "tags")
    return Collator()([with_example(cut, maker.example(cut, "asr")) for cut in make_cuts(4)])


def with_faults(pack, count=1):
    return replace(
        pack, faults=tuple(Fault(f"c{n}", "asr", "made/x", "missing", "gone") for n in range(count))
    )


def test_every_fault_is_a_line_with_its_step(pack, tmp_path):
    monitor = BadAudioMonitor(tmp_path, max_bad_fraction=0.01)
    monitor.on_train_batch_end(FakeTrainer(3), None, None, (pack, with_faults(pack)), 0)
    monitor.on_train_batch_end(FakeTrainer(4), None, None, (with_faults(pack, 2),), 0)
    rows = [json.loads(line) for line in (tmp_path / "bad_audio.jsonl").read_text().splitlines()]
    assert [(row["step"], row["cut"], row["reason"]) for row in rows] == [
        (3, "c0", "missing"),
        (4, "c0", "missing"),
        (4, "c1", "missing"),
    ]
    assert monitor.num_conversations == 12


def test_packs_of_two_tensor_parallel_ranks_are_counted_and_written_once(pack, tmp_path):
    def work(tensor_parallel):
        monitor = BadAudioMonitor(
            tmp_path / str(tensor_parallel), max_bad_fraction=0.1, tensor_parallel=tensor_parallel
        )
        monitor.on_train_batch_end(FakeTrainer(1), None, None, (pack, with_faults(pack)), 0)
        return monitor.state_dict()

    (without, with_tensor_parallel), _ = on_ranks(
        2, together(lambda number: [work(tensor_parallel) for tensor_parallel in (1, 2)])
    )
    assert with_tensor_parallel == {"conversations": 8, "bad": {"made/x": 1}}
    assert without == {"conversations": 16, "bad": {"made/x": 2}}
    lines = [(tmp_path / str(n) / "bad_audio.jsonl").read_text().splitlines() for n in (1, 2)]
    assert [len(rows) for rows in lines] == [2, 1]


def test_without_faults_nothing_is_written(pack, tmp_path):
    BadAudioMonitor(tmp_path / "stage", max_bad_fraction=0.0).on_train_batch_end(
        FakeTrainer(1), None, None, (pack,), 0
    )
    assert not (tmp_path / "stage").exists()


def test_with_a_full_disk_faults_are_still_counted_and_training_continues(pack, tmp_path, monkeypatch):
    monitor = BadAudioMonitor(tmp_path / "stage", max_bad_fraction=0.9)
    full = OSError(28, "No space left on device")
    with monkeypatch.context() as patched:
        patched.setattr(bad_audio, "JsonlWriter", lambda path, **settings: (_ for _ in ()).throw(full))
        monitor.on_train_batch_end(FakeTrainer(1), None, None, (with_faults(pack),), 0)
    monitor.on_train_batch_end(FakeTrainer(2), None, None, (with_faults(pack),), 0)
    with monkeypatch.context() as patched:
        patched.setattr(journal.os, "write", lambda *_: (_ for _ in ()).throw(full))
        monitor.on_train_batch_end(FakeTrainer(3), None, None, (with_faults(pack, 3),), 0)
    monitor.on_train_batch_end(FakeTrainer(4), None, None, (with_faults(pack),), 0)
    rows = (tmp_path / "stage" / "bad_audio.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == [2, 4]
    assert monitor.num_bad == 6


def test_one_fault_among_the_first_conversations_does_not_stop_and_two_do(pack, tmp_path):
    monitor = BadAudioMonitor(tmp_path, max_bad_fraction=0.001)
    monitor.on_train_batch_end(FakeTrainer(1), None, None, (with_faults(pack),), 0)
    with pytest.raises(DataError, match=r"2 of 8 clips.*c0 of made/x: missing.*bad_audio\.jsonl"):
        monitor.on_train_batch_end(FakeTrainer(2), None, None, (with_faults(pack),), 0)


def test_faults_written_by_a_killed_attempt_are_not_written_again(pack, tmp_path):
    for steps in ((1, 2), (2, 3)):
        monitor = BadAudioMonitor(tmp_path, max_bad_fraction=0.9)
        for step in steps:
            monitor.on_train_batch_end(FakeTrainer(step), None, None, (with_faults(pack),), 0)
    rows = (tmp_path / "bad_audio.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == [1, 2, 3]
