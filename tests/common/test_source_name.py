import pytest

from audio_lm.common.errors import RecipeError
from audio_lm.common.source_name import (
    SPLITS,
    check_source_name,
    corpus_of,
    parse_source,
    split_source,
    split_subset,
)


@pytest.mark.parametrize(
    "source", ["mine", "mine/", "/mine", "a/b/c", "../x-train", "a/../b", "mine/..", "mine/.x", "a//b"]
)
def test_a_source_is_a_corpus_and_a_cut_set(source):
    with pytest.raises(RecipeError, match=r"source .*is not corpus/subset-split"):
        check_source_name(source)


def test_a_source_needs_no_split_to_be_a_name():
    check_source_name("mine/everything")


def test_the_split_follows_the_last_dash():
    assert parse_source("librispeech/dev-other-test") == ("librispeech", "dev-other", "test")


@pytest.mark.parametrize("split", SPLITS)
def test_the_parts_make_the_source_again(split):
    corpus, subset, found = parse_source(f"mine/a-b-{split}")
    assert (f"{corpus}/{subset}-{found}", found) == (f"mine/a-b-{split}", split)


@pytest.mark.parametrize(
    "source", ["digits-test", "synthetic/digits", "/digits-test", "synthetic/-test", "a/b/c-test"]
)
def test_a_source_without_its_parts_is_refused(source):
    with pytest.raises(RecipeError, match="corpus/subset-split"):
        parse_source(source)


def test_a_source_without_a_cut_set_has_a_corpus():
    assert split_source("mine") == ("mine", "")
    assert corpus_of("mine/all-train") == corpus_of("mine") == "mine"


@pytest.mark.parametrize("name", ["all", "-train", "all-dev", "train", ""])
def test_a_manifest_without_subset_and_split_has_no_parts(name):
    assert split_subset(name) is None
