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


class AtStep:
    """A trainer at a step."""

    loggers = ()

    def __init__(self, step):
        self.global_step = step


@pytest.fixture
def pack(make_cuts, vocabulary):
    maker = ExampleMaker(vocabulary, "tags")
    return Collator()([with_example(cut, maker.example(cut, "asr")) for cut in make_cuts(4)])


def bad(pack, count=1):
    return replace(
        pack, faults=tuple(Fault(f"c{n}", "asr", "made/x", "missing", "gone") for n in range(count))
    )


def test_every_fault_is_a_line_with_its_step(pack, tmp_path):
    quarantine = BadAudioMonitor(tmp_path, max_bad_fraction=0.01)
    quarantine.on_train_batch_end(AtStep(3), None, None, (pack, bad(pack)), 0)
    quarantine.on_train_batch_end(AtStep(4), None, None, (bad(pack, 2),), 0)
    rows = [json.loads(line) for line in (tmp_path / "bad_audio.jsonl").read_text().splitlines()]
    assert [(row["step"], row["cut"], row["reason"]) for row in rows] == [
        (3, "c0", "missing"),
        (4, "c0", "missing"),
        (4, "c1", "missing"),
    ]
    assert quarantine.num_conversations == 12


def test_packs_of_two_tensor_parallel_ranks_are_counted_and_written_once(pack, tmp_path):
    def work(tensor_parallel):
        quarantine = BadAudioMonitor(
            tmp_path / str(tensor_parallel), max_bad_fraction=0.1, tensor_parallel=tensor_parallel
        )
        quarantine.on_train_batch_end(AtStep(1), None, None, (pack, bad(pack)), 0)
        return quarantine.state_dict()

    (each, one), _ = on_ranks(
        2, together(lambda number: [work(tensor_parallel) for tensor_parallel in (1, 2)])
    )
    assert one == {"conversations": 8, "bad": {"made/x": 1}}
    assert each == {"conversations": 16, "bad": {"made/x": 2}}
    lines = [(tmp_path / str(n) / "bad_audio.jsonl").read_text().splitlines() for n in (1, 2)]
    assert [len(of) for of in lines] == [2, 1]


def test_nothing_is_written_where_nothing_is_wrong(pack, tmp_path):
    BadAudioMonitor(tmp_path / "stage", max_bad_fraction=0.0).on_train_batch_end(
        AtStep(1), None, None, (pack,), 0
    )
    assert not (tmp_path / "stage").exists()


def test_a_full_disk_costs_the_list_and_neither_the_count_nor_the_run(pack, tmp_path, monkeypatch):
    quarantine = BadAudioMonitor(tmp_path / "stage", max_bad_fraction=0.9)
    full = OSError(28, "No space left on device")
    with monkeypatch.context() as patched:
        patched.setattr(bad_audio, "JsonlWriter", lambda path, **how: (_ for _ in ()).throw(full))
        quarantine.on_train_batch_end(AtStep(1), None, None, (bad(pack),), 0)
    quarantine.on_train_batch_end(AtStep(2), None, None, (bad(pack),), 0)
    with monkeypatch.context() as patched:
        patched.setattr(journal.os, "write", lambda *_: (_ for _ in ()).throw(full))
        quarantine.on_train_batch_end(AtStep(3), None, None, (bad(pack, 3),), 0)
    quarantine.on_train_batch_end(AtStep(4), None, None, (bad(pack),), 0)
    rows = (tmp_path / "stage" / "bad_audio.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == [2, 4]
    assert quarantine.num_bad == 6


def test_one_of_the_first_is_no_reason_to_stop_and_two_are(pack, tmp_path):
    quarantine = BadAudioMonitor(tmp_path, max_bad_fraction=0.001)
    quarantine.on_train_batch_end(AtStep(1), None, None, (bad(pack),), 0)
    with pytest.raises(DataError, match=r"2 of 8 clips.*c0 of made/x: missing.*bad_audio\.jsonl"):
        quarantine.on_train_batch_end(AtStep(2), None, None, (bad(pack),), 0)


def test_what_a_killed_attempt_has_listed_is_not_listed_again(pack, tmp_path):
    for steps in ((1, 2), (2, 3)):
        quarantine = BadAudioMonitor(tmp_path, max_bad_fraction=0.9)
        for step in steps:
            quarantine.on_train_batch_end(AtStep(step), None, None, (bad(pack),), 0)
    rows = (tmp_path / "bad_audio.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == [1, 2, 3]
