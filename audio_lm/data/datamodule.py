"""Packs for the trainer: endless ones to train on, finite ones per task to validate on."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from lhotse import CutSet
from lhotse.cut import Cut
from lhotse.dataset import DynamicCutSampler
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler

from audio_lm.data.collate import Collator
from audio_lm.data.examples import ExampleMaker
from audio_lm.data.mixture import Mixture, with_example
from audio_lm.data.packing import PackConstraint
from audio_lm.pack import Pack
from audio_lm.runtime import rank, world_size


class Packs(Dataset[tuple[Pack, ...]]):
    """Lists of cuts, one list a pack, become packs."""

    def __init__(self, collator: Collator) -> None:
        self.collator = collator

    def __getitem__(self, cuts_of_packs: Sequence[CutSet]) -> tuple[Pack, ...]:
        return tuple(self.collator(list(cuts)) for cuts in cuts_of_packs)


class Steps(Sampler[list[CutSet]]):
    """What this rank hears at each optimizer step, from a given step on.

    The order is a function of the mixture's seed, so continuing is passing over
    the packs that were heard; no audio is read for them.
    """

    def __init__(
        self,
        mixture: Mixture,
        *,
        max_tokens: int,
        max_conversations: int | None,
        accumulate: int,
        first_step: int = 0,
    ) -> None:
        self.mixture = mixture
        self.max_tokens = max_tokens
        self.max_conversations = max_conversations
        self.accumulate = accumulate
        self.first_step = first_step

    def __iter__(self) -> Iterator[list[CutSet]]:
        packs = iter(
            DynamicCutSampler(
                CutSet(self.mixture),
                constraint=PackConstraint(self.max_tokens, self.max_conversations),
                world_size=world_size(),
                rank=rank(),
            )
        )
        heard = islice(packs, self.first_step * self.accumulate, None)
        while True:
            yield list(islice(heard, self.accumulate))


class MixtureDataModule(LightningDataModule):
    """The data of one stage.

    Args:
        cuts_of_task: validation cuts; each task is a loader of its own.
        first_step: the optimizer step to begin at.
    """

    def __init__(
        self,
        steps: Steps,
        collator: Collator,
        *,
        validation: Mapping[str, Sequence[Cut]],
        validation_maker: ExampleMaker,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        self.steps = steps
        self.collator = collator
        self.validation = dict(validation)
        self.validation_maker = validation_maker
        self.num_workers = num_workers

    def train_dataloader(self) -> DataLoader[tuple[Pack, ...]]:
        """One optimizer step's packs at a time, without end."""
        return DataLoader(
            Packs(self.collator),
            sampler=self.steps,
            batch_size=None,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
        )

    def val_dataloader(self) -> list[DataLoader[tuple[Pack, ...]]]:
        """One loader per task, in the order of ``validation``."""
        plain = Packs(Collator(num_mels=self.collator.num_mels))
        return [
            DataLoader(plain, sampler=[[pack] for pack in self._validation_packs(task)], batch_size=None)
            for task in self.validation
        ]

    def _validation_packs(self, task: str) -> list[CutSet]:
        cuts = [with_example(cut, self.validation_maker, task, 0) for cut in self.validation[task]]
        return list(packs_of(cuts, max_tokens=self.steps.max_tokens))


def packs_of(cuts: Sequence[Cut], *, max_tokens: int) -> Iterator[CutSet]:
    """Cuts that carry their examples, in order, a pack at a time."""
    constraint = PackConstraint(max_tokens)
    pack: list[Cut] = []
    for cut in cuts:
        pack.append(cut)
        constraint.add(cut)
        if constraint.close_to_exceeding():
            yield CutSet(pack)
            pack = []
            constraint.reset()
    if pack:
        yield CutSet(pack)
