"""Training and validation pairs of a stage, by source and row, for the log-probabilities of its reference."""

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from lhotse.cut import Cut

from audio_lm.data.collate import Collator
from audio_lm.data.datamodule import MixtureDataModule
from audio_lm.data.examples import with_example
from audio_lm.data.mixture.schedule import Cursor, PackSchedule, ScheduledExample
from audio_lm.data.reference import Chunk, PairCodes, validation_name


class StagePairs:
    """Pairs of a stage.

    Args:
        data: of the stage.
        max_tokens: token budget of a pack.
    """

    def __init__(self, data: MixtureDataModule, *, max_tokens: int) -> None:
        self.packs = data.packs
        self.schedule: PackSchedule = data.sampler.schedule
        self.validation: Mapping[str, Sequence[Cut]] = data.validation
        self.validation_maker = data.validation_maker
        self.max_tokens = max_tokens
        collator = data.packs.collator
        self.collator = Collator(
            num_mels=collator.num_mels, load=collator.load, unreadable=collator.unreadable
        )
        self._source_of = {
            f"{source.task} {source.source}": number for number, source in enumerate(self.packs.sources)
        }
        self._task_of = {validation_name(task): task for task in self.validation}

    def codes(self, steps: int | None) -> Iterator[tuple[str, PairCodes]]:
        """Names of the sources, with the pairs that are needed.

        Args:
            steps: of the stage; None where its schedule is not known, and every pair is needed.
        """
        names = list(self._source_of)
        if steps is None:
            for number, source in enumerate(self.packs.sources):
                num_choices = self.schedule.lengths[number].num_choices
                rows, choices = np.divmod(np.arange(len(source.rows) * num_choices), num_choices)
                yield names[number], PairCodes(rows, choices, num_choices)
        else:
            drawn = np.array(list(self._drawn(steps)), dtype=np.int64).reshape(-1, 3)
            for number, name in enumerate(names):
                rows, choices = drawn[drawn[:, 0] == number, 1:].T
                yield name, PairCodes(rows, choices, self.schedule.lengths[number].num_choices)
        for name, task in self._task_of.items():
            rows = np.arange(len(self.validation[task]))
            yield name, PairCodes(rows, np.zeros_like(rows))

    def _drawn(self, steps: int) -> Iterator[tuple[int, int, int]]:
        """Source, row and paraphrase of every example of the stage."""
        for _, packs in itertools.islice(self.schedule.steps(Cursor()), steps):
            yield from ((one.source, one.row, one.choice) for pack in packs for one in pack)

    def cuts(self, chunk: Chunk) -> list[Cut]:
        """Cuts of a chunk with their pairs."""
        rows, choices = np.divmod(chunk.codes, chunk.num_choices)
        return [self._cut(chunk.name, *pair) for pair in zip(rows.tolist(), choices.tolist(), strict=True)]

    def _cut(self, name: str, row: int, choice: int) -> Cut:
        if name in self._source_of:
            source = self._source_of[name]
            num_tokens = int(self.schedule.lengths[source].of(np.array([row]), np.array([choice]))[0])
            return self.packs.cut(ScheduledExample(0, source, row, choice, num_tokens))
        task = self._task_of[name]
        cut = self.validation[task][row]
        return with_example(cut, self.validation_maker.example(cut, task))

    @property
    def validation_digest(self) -> str:
        """Digest of the validation pairs."""
        state = hashlib.sha256()
        for name, task in self._task_of.items():
            for row in range(len(self.validation[task])):
                example = self._cut(name, row, 0).custom["example"]
                tokens = [document.token_ids for document in example.documents]
                state.update(json.dumps([name, example.cut_id, example.num_samples, tokens]).encode())
        return state.hexdigest()[:16]
