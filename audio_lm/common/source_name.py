"""Names of sources, ``corpus/subset-split``: the one place that checks them and takes them apart."""

from typing import NamedTuple

from audio_lm.common.errors import RecipeError
from audio_lm.common.names import MAX_BYTES, RULE, is_name

SPLITS = ("train", "validation", "test")


class SourceName(NamedTuple):
    """A source by its parts."""

    corpus: str
    subset: str
    split: str


def split_source(source: str) -> tuple[str, str]:
    """Corpus and ``subset-split`` of a source; either is empty where it is missing.

    >>> split_source("librispeech/dev-other-test")
    ('librispeech', 'dev-other-test')
    """
    corpus, _, subset_split = source.partition("/")
    return corpus, subset_split


def corpus_of(source: str) -> str:
    """Corpus of a source."""
    return split_source(source)[0]


def split_subset(subset_split: str) -> tuple[str, str] | None:
    """Subset and split of a manifest; None where one of them is missing. A subset may contain dashes.

    >>> split_subset("dev-other-test"), split_subset("dev-other")
    (('dev-other', 'test'), None)
    """
    subset, _, split = subset_split.rpartition("-")
    return (subset, split) if subset and split in SPLITS else None


def check_source_name(source: str) -> None:
    """Refuse what cannot be the name of a source; the split is not checked.

    Raises:
        RecipeError: gives the rule.
    """
    names = source.split("/")
    if len(names) != 2 or not all(map(is_name, names)):
        raise RecipeError(
            f"source {source[:MAX_BYTES]!r} is not corpus/subset-split, two names, where {RULE}; "
            f"write for example synthetic/digits-test"
        )


def parse_source(source: str) -> SourceName:
    """The three parts of a source.

    Raises:
        RecipeError: a part is missing, or the split is unknown.

    >>> parse_source("librispeech/dev-other-test")
    SourceName(corpus='librispeech', subset='dev-other', split='test')
    """
    check_source_name(source)
    corpus, subset_split = split_source(source)
    parts = split_subset(subset_split)
    if parts is None:
        raise RecipeError(
            f"source {source!r} is not corpus/subset-split with a split of {', '.join(SPLITS)}; "
            f"write for example synthetic/digits-test"
        )
    return SourceName(corpus, *parts)
