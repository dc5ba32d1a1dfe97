from itertools import pairwise

import numpy as np
import pytest

from audio_lm.common.source_name import SPLITS
from audio_lm.corpora.synthetic.split_random import NUM_STRIPES, SplitRandom


def stripe_shares(split):
    values = SplitRandom(split, 0).uniforms(2_000) * NUM_STRIPES
    return values - np.floor(values)


def test_splits_draw_from_disjoint_numbers():
    shares = [stripe_shares(split) for split in SPLITS]
    for before, after in pairwise(shares):
        assert before.max() < after.min()


@pytest.mark.parametrize("split", SPLITS)
def test_every_split_covers_the_whole_range(split):
    values = np.array([SplitRandom(split, 0, number).uniform(10, 20) for number in range(300)])
    assert values.min() < 11.5
    assert values.max() > 18.5
    assert np.all((values >= 10) & (values < 20))


def test_equal_keys_draw_equal_numbers_and_others_do_not():
    assert SplitRandom("train", 0, "note", 1).uniform(0, 1) == SplitRandom("train", 0, "note", 1).uniform(
        0, 1
    )
    assert SplitRandom("train", 0, "note", 1).uniform(0, 1) != SplitRandom("train", 0, "note", 2).uniform(
        0, 1
    )


def test_items_are_drawn_by_their_shares():
    chance = SplitRandom("train", 0)
    drawn = [chance.weighted_choice("ab", (3, 1)) for _ in range(2_000)]
    assert abs(drawn.count("a") / 2_000 - 0.75) < 0.04


def test_some_of_draws_without_replacement():
    assert len(set(SplitRandom("train", 0).choose_distinct("abcdef", 4))) == 4
