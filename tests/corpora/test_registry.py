import re
from pathlib import Path

import pytest

from audio_lm.common.errors import RecipeError
from audio_lm.corpora import registry
from audio_lm.corpora.registry import CORPORA, PUBLISHED, find_corpus
from audio_lm.tasks.registry import TASKS

README = Path(registry.__file__).with_name("README.md").read_text(encoding="utf-8")
SUBSET_SPLIT = re.compile(r"[a-z0-9_]+-(train|validation|test)")


BY_HAND = {corpus.name for corpus in PUBLISHED if not corpus.archives}


def row_of(corpus):
    """Line of a corpus in the table of the README."""
    facts = corpus.facts
    hours = sum(subset.hours for subset in facts.subsets.values())
    how = f"[by hand]({facts.url})" if corpus.name in BY_HAND else "downloads"
    amount = f"{hours:,.0f}" if hours >= 10 else f"{hours:.1f}" if hours else ""
    return f"| `{corpus.name}` | {', '.join(facts.tasks)} | {amount} | {facts.licence} | {how} |"


def test_every_corpus_has_default_settings_and_a_licence():
    for name, corpus in CORPORA.items():
        assert corpus.name == name
        assert corpus.read_settings({}) is not None, name
        assert corpus.facts.licence, name


def test_published_corpora_have_a_source_and_tasks():
    for corpus in PUBLISHED:
        assert corpus.archives or corpus.by_hand, corpus.name
        assert corpus.facts.tasks, corpus.name
        assert TASKS.keys() >= set(corpus.facts.tasks), corpus.name


def test_published_sizes_are_of_cut_sets_with_plausible_durations():
    for corpus in PUBLISHED:
        for subset_split, size in corpus.facts.subsets.items():
            assert SUBSET_SPLIT.fullmatch(subset_split), (corpus.name, subset_split)
            assert 0.5 < size.hours * 3600 / size.clips < 90, (corpus.name, subset_split)


def test_the_readme_lists_the_facts_of_every_published_corpus():
    table = [line for line in README.splitlines() if line.startswith("| `")]
    assert table == [row_of(CORPORA[name]) for name in sorted(CORPORA) if name != "synthetic"]


def test_the_error_for_an_unknown_corpus_suggests_the_nearest():
    with pytest.raises(RecipeError, match="Did you mean 'synthetic'"):
        find_corpus("syntetic")
