import json
import math
from itertools import islice

import pytest
import torch

from audio_lm.common.errors import DataError
from audio_lm.common.packed_batch import PackedBatch
from audio_lm.data.datamodule import packs_of
from audio_lm.data.examples import ExampleMaker, with_example
from audio_lm.data.mixture.schedule import Cursor


def steps_of(data, count):
    return [
        [(pack.cut_ids, pack.token_ids.tolist(), pack.waves.sum().item()) for pack in packs]
        for packs in islice(data.train_dataloader(), count)
    ]


def test_a_step_has_packs_per_step_packs(datamodule):
    assert {len(packs) for packs in steps_of(datamodule(packs=3), 4)} == {3}


def test_packs_have_the_scheduled_lengths(datamodule):
    data = datamodule()
    for packs, planned in zip(
        islice(data.train_dataloader(), 5), data.sampler.schedule.steps(Cursor()), strict=False
    ):
        for pack, scheduled_pack in zip(packs, planned[1], strict=True):
            lengths = [
                data.sampler.schedule.lengths[example.source].table[example.row, example.choice]
                for example in scheduled_pack
            ]
            assert pack.cu_seq_lens.diff().tolist() == lengths
            assert sum(lengths) <= 200


def test_resuming_from_a_cursor_gives_the_same_packs(datamodule):
    whole = datamodule()
    all_of_it = steps_of(whole, 9)
    for step in (1, 4, 7):
        assert steps_of(datamodule(cursor=whole.sampler.cursor_behind[step]), 2) == all_of_it[step : step + 2]


@pytest.mark.parametrize("num_workers", [1, 3])
def test_data_workers_do_not_change_the_packs(datamodule, num_workers):
    assert steps_of(datamodule(num_workers=num_workers), 4) == steps_of(datamodule(), 4)


@pytest.mark.parametrize("packing", ["full", "buckets"])
@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_split_a_step_and_the_order_stays(datamodule, monkeypatch, world_size, packing):
    whole = steps_of(datamodule(packs=4, packing=packing), 4)
    shares = []
    monkeypatch.setenv("WORLD_SIZE", str(world_size))
    for number in range(world_size):
        monkeypatch.setenv("RANK", str(number))
        shares.append(steps_of(datamodule(packs=4, packing=packing), 4))
    together = [[pack for share in shares for pack in share[step]] for step in range(4)]
    assert together == whole


def test_validation_uses_every_cut_of_every_task_once(datamodule):
    loaders = datamodule().val_dataloader()
    cut_ids = [
        [cut_id for packs in loader for pack in packs for cut_id in pack.cut_ids] for loader in loaders
    ]
    assert [len(of_task) for of_task in cut_ids] == [5, 2]


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_split_validation_into_equally_many_packs(datamodule, monkeypatch, world_size):
    whole = [[pack for (pack,) in loader] for loader in datamodule().val_dataloader()]
    monkeypatch.setenv("WORLD_SIZE", str(world_size))
    shares = []
    for number in range(world_size):
        monkeypatch.setenv("RANK", str(number))
        shares.append([[pack for (pack,) in loader] for loader in datamodule().val_dataloader()])
    for task, packs in enumerate(whole):
        of_ranks = [share[task] for share in shares]
        assert {len(of_rank) for of_rank in of_ranks} == {math.ceil(len(packs) / world_size)}
        all_packs = [pack for packs_of_round in zip(*of_ranks, strict=True) for pack in packs_of_round]
        counted = [pack.cut_ids for pack in all_packs if pack.num_learned]
        assert counted == [pack.cut_ids for pack in packs]
        assert all(pack.num_samples for pack in all_packs)  # repeated packs run through the model, too
    assert any(not pack.num_learned for share in shares for of_task in share for pack in of_task)


def test_validation_packs_keep_the_order_and_every_cut(make_cuts, vocabulary):
    maker = ExampleMaker(vocabulary, "tags")
    cuts = [with_example(cut, maker.example(cut, "asr")) for cut in make_cuts(7)]
    packs = list(packs_of(cuts, max_tokens=150))
    assert [cut.id for pack in packs for cut in pack] == [cut.id for cut in cuts]
    assert len(packs) > 1


class Shorter:
    """Lengths that do not match, as after a change of manifest or vocabulary."""

    def __init__(self, lengths):
        self.lengths = lengths
        self.num_choices = lengths.num_choices

    def of(self, rows, choices):
        return self.lengths.of(rows, choices) - 1


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_example_of_another_length_than_measured_is_refused_without_a_traceback(datamodule, num_workers):
    measured = datamodule().sampler.schedule.lengths
    data = datamodule(lengths=[Shorter(of_source) for of_source in measured], num_workers=num_workers)
    data.packs.is_measured = True
    loader = iter(data.train_dataloader())
    with pytest.raises(
        DataError, match=r"noise-train.*cut '.*' has \d+ tokens under task '(asr|sgc)'"
    ) as caught:
        data.on_before_batch_transfer(next(loader), 0)
    assert "Traceback" not in str(caught.value)
    good = datamodule(num_workers=num_workers)
    good.packs.is_measured = True
    assert good.on_before_batch_transfer(next(iter(good.train_dataloader())), 0)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_unreadable_line_costs_only_its_own_conversations(datamodule, tmp_path, num_workers):
    data = datamodule(num_workers=num_workers)
    clean = [pack for packs in islice(datamodule().train_dataloader(), 6) for pack in packs]
    manifest = tmp_path / "data" / "made" / "noise-train.jsonl"
    lines = manifest.read_bytes().splitlines(keepends=True)
    bad_id = json.loads(lines[3])["id"]
    lines[3] = lines[3].replace(b'"recording_id"', b'"recording_xx"')
    manifest.write_bytes(b"".join(lines))
    packs = [pack for packs in islice(data.train_dataloader(), 6) for pack in packs]
    faults = [fault for pack in packs for fault in pack.faults]
    num_bad = sum(pack.cut_ids.count(bad_id) for pack in clean)
    assert num_bad == len(faults) > 0
    for fault in faults:
        assert (fault.reason, fault.source, fault.cut_id) == (
            "line",
            "made/noise-train",
            "made/noise-train:3",
        )
        assert "noise-train.jsonl" in fault.detail
        assert "'recording_xx'" in fault.detail
    for pack, was in zip(packs, clean, strict=True):
        assert [cut_id for cut_id in pack.cut_ids if ":" not in cut_id] == [
            cut_id for cut_id in was.cut_ids if cut_id != bad_id
        ]
        if bad_id not in was.cut_ids:
            assert pack.labels.tolist() == was.labels.tolist()


def test_a_pack_of_unreadable_lines_has_no_labels(datamodule, tmp_path):
    data = datamodule()
    manifest = tmp_path / "data" / "made" / "noise-train.jsonl"
    manifest.write_bytes(b"")
    (pack, *_) = next(iter(data.train_dataloader()))
    assert pack.num_learned == 0
    assert len(pack.faults) == len(pack.cut_ids)
    assert pack.waves.numel() == 0


@pytest.mark.gpu_counterpart
def test_packs_are_copied_to_a_device_without_waiting(datamodule, monkeypatch):
    waits = []
    monkeypatch.setattr(
        PackedBatch, "to", lambda pack, device, non_blocking=False: waits.append(not non_blocking) or pack
    )
    data = datamodule(packs=2)
    batch = next(iter(data.train_dataloader()))
    moved = data.transfer_batch_to_device(batch, torch.device("cpu"), 0)
    assert all(after is before for after, before in zip(moved, batch, strict=True))
    assert waits == [False, False]


@pytest.mark.gpu_counterpart
@pytest.mark.parametrize("has_gpu", [False, True])
def test_memory_is_pinned_where_there_is_a_gpu(datamodule, monkeypatch, has_gpu):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert datamodule().train_dataloader().pin_memory is has_gpu
