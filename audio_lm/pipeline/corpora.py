"""Corpora and cut-sets of a recipe."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lhotse.cut import Cut

from audio_lm.common.protocols import Report
from audio_lm.config.schema import Recipe
from audio_lm.config.smoke import has_enough
from audio_lm.corpora.corpus import prepare, reading
from audio_lm.data.manifest.cuts import EvalLongAudio, check_sources, read_cuts, usable_cuts


def prepare_corpora(recipe: Recipe, report: Report) -> None:
    """Prepare the corpora of a recipe that are not prepared yet."""
    for name, settings in recipe.corpora.items():
        if has_enough(recipe, name):
            report(f"corpus {name}: {Path(recipe.data_dir) / name} is already prepared")
        else:
            prepare(name, Path(recipe.data_dir), settings, report)


@contextmanager
def reading_corpora(recipe: Recipe) -> Iterator[None]:
    """Keep the corpora that a recipe prepares from being replaced by another process meanwhile."""
    with ExitStack() as stack:
        for name in recipe.corpora:
            stack.enter_context(reading(Path(recipe.data_dir) / name))
        yield


def usable_source(recipe: Recipe, source: str, long_audio: EvalLongAudio) -> list[Cut]:
    """Read the cuts of a source and check them.

    Raises:
        DataError: the cut-set is missing, or a cut cannot be used.
    """
    cuts = read_cuts(Path(recipe.data_dir), source)
    check_sources(cuts, [Path(root) for root in recipe.audio_roots])
    return usable_cuts(cuts, source=source, long_audio=long_audio)
