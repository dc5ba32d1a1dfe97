"""Data loaders of a stage: scheduled packs for training, and a finite loader per task for validation."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from lhotse.cut import Cut
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from audio_lm.common.audio_units import Seconds
from audio_lm.common.env import rank, world_size
from audio_lm.common.errors import DataError, UserError
from audio_lm.common.packed_batch import PackedBatch
from audio_lm.data.collate import Collator
from audio_lm.data.examples import ExampleMaker, placeholder_cut, with_example
from audio_lm.data.manifest.lazy_cuts import LoadedSource
from audio_lm.data.mixture.schedule import Cursor, Packing, PackSchedule, ScheduledExample
from audio_lm.data.reference import ReferenceTable, validation_name
from audio_lm.fault_tolerance.processes import init_data_worker

MAX_CURSORS = 10_000  # more than the steps by which the sampler is ahead of the trainer
SECONDS_FOR_A_STEP: Seconds = 300.0  # that a worker may take before it counts as stuck


class PackDataset(Dataset[tuple[PackedBatch, ...] | UserError]):
    """Map the scheduled examples of a step to packed batches.

    Args:
        is_measured: the schedule was made with measured lengths; refuse an example of another length, because the
            composition of packs depends on it.
        references: log-probabilities of pairs under the reference.
    """

    def __init__(
        self,
        sources: Sequence[LoadedSource],
        maker: ExampleMaker,
        collator: Collator,
        *,
        is_measured: bool = False,
        references: ReferenceTable | None = None,
    ) -> None:
        self.sources = list(sources)
        self.maker = maker
        self.collator = collator
        self.is_measured = is_measured
        self.references = references

    def __getitem__(self, packs: Packing) -> tuple[PackedBatch, ...] | UserError:
        """Packs of a step, or the ``UserError``: an exception of a worker would be shown as a traceback."""
        try:
            return self.step(packs)
        except UserError as error:
            if get_worker_info() is None:
                raise
            return error

    def step(self, packs: Packing) -> tuple[PackedBatch, ...]:
        """Load and collate the packs of a step.

        Raises:
            UserError: an example cannot be made.
        """
        return tuple(self.collator([self.cut(scheduled) for scheduled in pack]) for pack in packs)

    def cut(self, scheduled: ScheduledExample) -> Cut:
        """Cut of a scheduled example, with the example.

        Raises:
            DataError: it has another length than was measured.
        """
        source = self.sources[scheduled.source]
        try:
            cut = source.rows.cut(scheduled.row)
            example = self.maker.example(
                cut, source.task, scheduled.position, choice=scheduled.choice, source=source.source
            )
        except DataError as error:
            name = f"{source.source}:{scheduled.row}"
            return placeholder_cut(
                name, source.task, source.source, str(error), is_paired=self.maker.rule.is_paired
            )
        if self.is_measured and len(example) != scheduled.num_tokens:
            raise DataError(
                f"{source.rows.index.manifest}: cut {cut.id!r} has {len(example)} tokens under task {source.task!r}, but "
                f"{scheduled.num_tokens} were measured, so packs would differ from the schedule; the manifest or "
                f"{source.rows.index.folder.parent} has changed since the run was started: start it again"
            )
        if self.references is not None:
            name = f"{source.task} {source.source}"
            example = replace(example, reference=self.references.of(name, scheduled.row, scheduled.choice))
        return with_example(cut, example)


class PackSampler(Sampler[Packing]):
    """Sampler of the packs of this rank at every step, from a cursor on.

    Data workers prefetch, so the sampler keeps the cursor after each step; a checkpoint stores the one
    after the last trained step.

    Args:
        tensor_parallel: size of the tensor-parallel groups of neighbouring ranks; all ranks of a group get the same
            packs.
    """

    def __init__(self, schedule: PackSchedule, cursor: Cursor, *, tensor_parallel: int = 1) -> None:
        self.schedule = schedule
        self.tensor_parallel = tensor_parallel
        self.cursor = cursor
        self.cursor_behind: dict[int, Cursor] = {cursor.step: cursor}

    def __iter__(self) -> Iterator[Packing]:
        num_packs = self.schedule.rules.packs * self.tensor_parallel // world_size()
        first = rank() // self.tensor_parallel * num_packs
        for cursor, packs in self.schedule.steps(self.cursor):
            self.cursor_behind[cursor.step] = cursor
            self.cursor_behind.pop(cursor.step - MAX_CURSORS, None)
            yield packs[first : first + num_packs]


class MixtureDataModule(LightningDataModule):
    """Training and validation data of one stage.

    Args:
        validation: cuts by task; each task has its own loader.
        max_tokens: token budget of a validation pack.
    """

    def __init__(
        self,
        sampler: PackSampler,
        packs: PackDataset,
        *,
        validation: Mapping[str, Sequence[Cut]],
        validation_maker: ExampleMaker,
        max_tokens: int,
        num_workers: int = 0,
        seconds_for_a_step: Seconds = SECONDS_FOR_A_STEP,
    ) -> None:
        super().__init__()
        self.sampler = sampler
        self.packs = packs
        self.validation = dict(validation)
        self.validation_maker = validation_maker
        self.max_tokens = max_tokens
        self.num_workers = num_workers
        self.seconds_for_a_step = seconds_for_a_step

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Raise the ``UserError`` of a worker in the main process, where it is shown without a traceback."""
        if isinstance(batch, UserError):
            raise batch
        return batch

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move packs without waiting for the device; Lightning would do that for bare tensors only."""
        return tuple(pack.to(device, non_blocking=True) for pack in batch)

    def train_dataloader(self) -> DataLoader[tuple[PackedBatch, ...] | UserError]:
        """Endless loader of the packs of one optimizer step at a time."""
        return DataLoader(
            self.packs,
            sampler=self.sampler,
            batch_size=None,
            num_workers=self.num_workers,
            pin_memory=self._is_on_gpu(),
            persistent_workers=self.num_workers > 0,
            timeout=self.seconds_for_a_step if self.num_workers else 0,
            worker_init_fn=init_data_worker if self.num_workers else None,
        )

    def _is_on_gpu(self) -> bool:
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"

    def val_dataloader(self) -> list[DataLoader[tuple[PackedBatch, ...]]]:
        """One loader per task, in the order of ``validation``; its packs are distributed, equally many per rank."""
        ours, tensor_parallel = self.packs.collator, self.sampler.tensor_parallel
        plain = Collator(num_mels=ours.num_mels, layout_of=ours.layout_of)
        shard = (rank() // tensor_parallel, world_size() // tensor_parallel)
        return [
            DataLoader(
                _ShardedPacks(list(self._validation_packs(task)), plain, shard),
                batch_size=None,
                pin_memory=self._is_on_gpu(),
            )
            for task in self.validation
        ]

    def _validation_packs(self, task: str) -> Iterator[list[Cut]]:
        maker, references = self.validation_maker, self.packs.references
        examples = [maker.example(cut, task) for cut in self.validation[task]]
        if references is not None:
            name = validation_name(task)
            examples = [
                replace(example, reference=references.of(name, number))
                for number, example in enumerate(examples)
            ]
        cuts = list(map(with_example, self.validation[task], examples))
        return packs_of(cuts, max_tokens=self.max_tokens)


class _ShardedPacks(Dataset[tuple[PackedBatch, ...]]):
    """Every n-th pack of a list, one shard per rank.

    All shards have the same length, because the ranks of a sharded model gather its weights together. A shard that
    is short of a pack repeats the last one without labels.

    Args:
        shard: its index, and the number of shards.
    """

    def __init__(
        self, packs: Sequence[Sequence[Cut]], collator: Collator, shard: tuple[int, int] = (0, 1)
    ) -> None:
        self.packs = packs
        self.collator = collator
        self.shard, self.num_shards = shard

    def __len__(self) -> int:
        return -(-len(self.packs) // self.num_shards)

    def __getitem__(self, index: int) -> tuple[PackedBatch, ...]:
        number = index * self.num_shards + self.shard
        if number < len(self.packs):
            return (self.collator(self.packs[number]),)
        return (self.collator(self.packs[-1]).without_labels(),)


def packs_of(cuts: Sequence[Cut], *, max_tokens: int) -> Iterator[list[Cut]]:
    """Group cuts with examples into packs, in order.

    A pack is closed when another conversation of the mean length would not fit.
    """
    pack, num_tokens = list[Cut](), 0
    for cut in cuts:
        pack.append(cut)
        num_tokens += len(cut.custom["example"])
        if num_tokens * (1 + 1 / len(pack)) > max_tokens:
            yield pack
            pack, num_tokens = [], 0
    if pack:
        yield pack
