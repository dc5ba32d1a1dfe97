"""Number of rows of each source for a small trial that repeats its data as often as a full-size run.

A small run sees most sources less than once, the full one repeats the small sources many times; mixtures chosen from
such runs are wrong (arXiv:2606.07597). Rows are limited in proportion to the drawn examples, at each mixture.
"""

from dataclasses import dataclass, replace

from audio_lm.data.config import MixtureConfig
from audio_lm.sweep.sizes import StageSizes

Epochs = dict[tuple[str, str], float]


@dataclass(frozen=True)
class FullSize:
    """The stage of the full-size recipe whose repetition trials match."""

    name: str
    """Name of the recipe."""

    sizes: StageSizes

    def mixture(self, point: MixtureConfig) -> MixtureConfig:
        """Mixture of the full-size recipe at the shares of a trial."""
        own = self.sizes.stage.mixture
        return replace(
            point, sources=own.sources, max_epochs=own.max_epochs, max_rows=own.max_rows, facts=own.facts
        )

    def epochs(self, point: MixtureConfig) -> Epochs:
        """(task, source) -> epochs in the full-size recipe at the shares of a trial."""
        return self.sizes.epochs(self.mixture(point), self.sizes.stage.steps)

    def matched_rows(self, point: MixtureConfig, trial: StageSizes, steps: int) -> dict[str, int]:
        """Source -> rows of a trial, at least one; without the sources that need all of theirs.

        Args:
            point: mixture of the trial.
            steps: of the trial.
        """
        uncapped = replace(point, max_epochs={}, max_rows={})
        part = sum(trial.draws(uncapped, steps)) / sum(
            self.sizes.draws(replace(self.mixture(point), max_epochs={}), self.sizes.stage.steps)
        )
        limits = {}
        for source in dict.fromkeys(leaf.source for leaf in trial.leaves):
            available = self.sizes.rows_of(source)
            of_full = min(self.mixture(point).max_rows.get(source, available), available)
            rows = max(1, round(part * of_full))
            if rows < trial.rows_of(source):
                limits[source] = rows
        return limits
