"""An endless stream of examples in which each task has its share.

Small corpora come round more often than large ones. Every pass over a task's
cuts has an order of its own, a function of the seed and the pass.
"""

from collections.abc import Iterator, Mapping, Sequence

from lhotse import CutSet
from lhotse.cut import Cut

from audio_lm.data.examples import ExampleMaker
from audio_lm.runtime import key_of, random_for


class Passes:
    """The cuts of one task, pass after pass, each cut once per pass."""

    def __init__(self, cuts: Sequence[Cut], *, task: str, seed: int) -> None:
        self.cuts = cuts
        self.task = task
        self.seed = seed

    def __iter__(self) -> Iterator[tuple[str, Cut]]:
        num_passes = 0
        while True:
            for index in random_for(self.seed, "pass", self.task, num_passes).permutation(len(self.cuts)):
                yield self.task, self.cuts[index]
            num_passes += 1


class Mixture:
    """Cuts in the order they are heard, each with its ``example`` attached.

    Args:
        weights: share of the clips per task; zero leaves a task out.
    """

    def __init__(
        self,
        cuts_of_task: Mapping[str, Sequence[Cut]],
        weights: Mapping[str, float],
        *,
        maker: ExampleMaker,
        seed: int,
    ) -> None:
        self.heard = [task for task in sorted(weights) if weights[task] > 0]
        self.cuts_of_task = cuts_of_task
        self.weights = weights
        self.maker = maker
        self.seed = seed

    def drawn(self) -> Iterator[tuple[str, Cut]]:
        """Task and cut, without making the example."""
        streams = [Passes(self.cuts_of_task[task], task=task, seed=self.seed) for task in self.heard]
        if len(streams) == 1:
            return iter(streams[0])
        weights = [self.weights[task] for task in self.heard]
        # lhotse's multiplexer is handed pairs; it never looks inside them.
        return iter(CutSet.mux(*map(CutSet, streams), weights=weights, seed=key_of(self.seed, "mux") % 2**32))

    def __iter__(self) -> Iterator[Cut]:
        for position, (task, cut) in enumerate(self.drawn()):
            yield with_example(cut, self.maker, task, position)


def with_example(cut: Cut, maker: ExampleMaker, task: str, position: int) -> Cut:
    """A copy of the cut that carries its example."""
    return cut.with_custom("example", maker.example(cut, task, position))
