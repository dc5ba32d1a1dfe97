"""Packs for the trainer: planned ones to train on, finite ones per task to validate on."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lhotse.cut import Cut
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from audio_lm.common.audio_units import Seconds
from audio_lm.common.errors import DataError, UserError
from audio_lm.common.packed_batch import PackedBatch
from audio_lm.common.runtime import rank, world_size
from audio_lm.data.collate import Collator
from audio_lm.data.examples import ExampleMaker, placeholder_cut, with_example
from audio_lm.data.manifest.lazy_cuts import LoadedSource
from audio_lm.data.mixture.schedule import Cursor, Packing, PackSchedule, ScheduledExample
from audio_lm.fault_tolerance.processes import live_as_data_worker

MAX_CURSORS = 10_000  # steps between the sampler, which runs ahead, and the trainer
SECONDS_FOR_A_STEP: Seconds = 300.0  # that a worker may take before it counts as stuck


class PackDataset(Dataset[tuple[PackedBatch, ...] | UserError]):
    """Turns of a plan become packs.

    Args:
        is_measured: lengths of the plan are those of the examples; another one is refused, for packs follow from it.
    """

    def __init__(
        self,
        leaves: Sequence[LoadedSource],
        maker: ExampleMaker,
        collator: Collator,
        *,
        is_measured: bool = False,
    ) -> None:
        self.leaves = list(leaves)
        self.maker = maker
        self.collator = collator
        self.is_measured = is_measured

    def __getitem__(self, packs: Packing) -> tuple[PackedBatch, ...] | UserError:
        """The packs of a step, or what is wrong with them: an error that a worker raised would be a traceback."""
        try:
            return self.step(packs)
        except UserError as error:
            if get_worker_info() is None:
                raise
            return error

    def step(self, packs: Packing) -> tuple[PackedBatch, ...]:
        """The packs of a step.

        Raises:
            UserError: one of them cannot be made.
        """
        return tuple(self.collator([self._cut(turn) for turn in turns]) for turns in packs)

    def _cut(self, turn: ScheduledExample) -> Cut:
        leaf = self.leaves[turn.source]
        try:
            cut = leaf.rows.cut(turn.row)
            example = self.maker.example(
                cut, leaf.task, turn.position, choice=turn.choice, source=leaf.source
            )
        except DataError as error:
            return placeholder_cut(f"{leaf.source}:{turn.row}", leaf.task, leaf.source, str(error))
        if self.is_measured and len(example) != turn.num_tokens:
            raise DataError(
                f"{leaf.rows.index.manifest}: cut {cut.id!r} makes {len(example)} tokens under task {leaf.task!r}, and "
                f"{turn.num_tokens} were measured, so packs would not be what was planned; the manifest or "
                f"{leaf.rows.index.folder.parent} has changed since the run was started: start it again"
            )
        return with_example(cut, example)


class PackSampler(Sampler[Packing]):
    """The share of this rank of every step, from a cursor on.

    Runs ahead of the trainer, so it remembers the cursor behind each step; the
    one behind the last trained step is all that a checkpoint needs.

    Args:
        tensor_parallel: neighbouring ranks that compute together and hear the same.
    """

    def __init__(self, plan: PackSchedule, cursor: Cursor, *, tensor_parallel: int = 1) -> None:
        self.plan = plan
        self.tensor_parallel = tensor_parallel
        self.cursor = cursor
        self.cursor_behind: dict[int, Cursor] = {cursor.step: cursor}

    def __iter__(self) -> Iterator[Packing]:
        share = self.plan.rules.packs * self.tensor_parallel // world_size()
        first = rank() // self.tensor_parallel * share
        for cursor, packs in self.plan.steps(self.cursor):
            self.cursor_behind[cursor.step] = cursor
            self.cursor_behind.pop(cursor.step - MAX_CURSORS, None)
            yield packs[first : first + share]


class MixtureDataModule(LightningDataModule):
    """The data of one stage.

    Args:
        validation: cuts by task; each task is a loader of its own.
        max_tokens: of a validation pack.
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
        """Raise what a worker has found wrong, where it is shown as a sentence."""
        if isinstance(batch, UserError):
            raise batch
        return batch

    def train_dataloader(self) -> DataLoader[tuple[PackedBatch, ...] | UserError]:
        """One optimizer step's packs at a time, without end."""
        return DataLoader(
            self.packs,
            sampler=self.sampler,
            batch_size=None,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            timeout=self.seconds_for_a_step if self.num_workers else 0,
            worker_init_fn=live_as_data_worker if self.num_workers else None,
        )

    def val_dataloader(self) -> list[DataLoader[tuple[PackedBatch, ...]]]:
        """One loader per task, in the order of ``validation``; ranks share its packs, and each hears as many."""
        plain, tensor_parallel = Collator(num_mels=self.packs.collator.num_mels), self.sampler.tensor_parallel
        share = (rank() // tensor_parallel, world_size() // tensor_parallel)
        return [
            DataLoader(_Listed(list(self._validation_packs(task)), plain, share), batch_size=None)
            for task in self.validation
        ]

    def _validation_packs(self, task: str) -> Iterator[list[Cut]]:
        maker = self.validation_maker
        cuts = [with_example(cut, maker.example(cut, task)) for cut in self.validation[task]]
        return packs_of(cuts, max_tokens=self.max_tokens)


class _Listed(Dataset[tuple[PackedBatch, ...]]):
    """One share of packs of cuts that stand in a list.

    All shares have as many, for a model that is shared out is gathered by all ranks at once; behind the last pack
    it is heard again and counts nothing.

    Args:
        share: its number, and how many there are.
    """

    def __init__(
        self, packs: Sequence[Sequence[Cut]], collator: Collator, share: tuple[int, int] = (0, 1)
    ) -> None:
        self.packs = packs
        self.collator = collator
        self.number, self.num_shares = share

    def __len__(self) -> int:
        return -(-len(self.packs) // self.num_shares)

    def __getitem__(self, index: int) -> tuple[PackedBatch, ...]:
        place = index * self.num_shares + self.number
        if place < len(self.packs):
            return (self.collator(self.packs[place]),)
        return (self.collator(self.packs[-1]).without_labels(),)


def packs_of(cuts: Sequence[Cut], *, max_tokens: int) -> Iterator[list[Cut]]:
    """Cuts that carry their examples, in order, a pack at a time.

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
