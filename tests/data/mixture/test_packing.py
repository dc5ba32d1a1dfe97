import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pad_sequence

from audio_lm.common.errors import DataError, RecipeError
from audio_lm.common.rng import random_for
from audio_lm.data.mixture.packing import PackingRules, pack_window, padding_fraction

PACKINGS = ("full", "buckets")


def lengths_of(packs, lengths):
    return [[int(lengths[place]) for place in pack] for pack in packs]


def tokens_of(pack, packing):
    """Tokens that a pack uses of its budget."""
    return sum(pack) if packing == "full" else len(pack) * max(pack)


@pytest.mark.parametrize("packing", PACKINGS)
@given(st.lists(st.integers(1, 100), min_size=4, max_size=300), st.integers(1, 4), st.integers(100, 400))
@settings(max_examples=60, deadline=None)
def test_packs_keep_the_budget_and_every_conversation(packing, lengths, packs, budget):
    lengths = lengths[: len(lengths) // packs * packs]
    found = pack_window(np.array(lengths), PackingRules(packs, budget, packing=packing))
    assert len(found) % packs == 0
    assert sorted(place for pack in found for place in pack) == list(range(len(lengths)))
    assert max(tokens_of(pack, packing) for pack in lengths_of(found, lengths)) <= budget


@pytest.mark.parametrize(("packing", "fill"), [("full", 0.98), ("buckets", 0.96)])
def test_packs_are_full(packing, fill):
    lengths = random_for("fill").lognormal(5.0, 0.5, 40_000).clip(20, 800).astype(int)
    found = pack_window(lengths, PackingRules(8, 8192, packing=packing))
    assert lengths.sum() / (len(found) * 8192) > fill


def test_conversations_of_a_bucket_have_similar_lengths():
    lengths = random_for("fill").lognormal(5.0, 0.5, 40_000).clip(20, 800).astype(int)
    shares = [
        padding_fraction(lengths_of(pack_window(lengths, PackingRules(8, 8192, packing=packing)), lengths))
        for packing in PACKINGS
    ]
    assert shares[1] < 0.01 < 0.3 < shares[0]


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_given_number_of_conversations_is_kept(packing):
    lengths = random_for("even").integers(20, 90, size=960)
    found = pack_window(lengths, PackingRules(4, 2200, conversations=96, packing=packing))
    assert len(found) == 40
    assert {len(pack) for pack in found} == {24}


@pytest.mark.parametrize("packing", PACKINGS)
def test_conversations_over_the_budget_are_refused(packing):
    with pytest.raises(DataError, match="over pack_tokens=50"):
        pack_window(np.array([10, 60]), PackingRules(1, 50, packing=packing))
    with pytest.raises(DataError, match="fewer conversations"):
        pack_window(np.full(40, 10), PackingRules(1, 50, conversations=10, packing=packing))


def test_padding_counts_in_buckets_of_a_given_number():
    lengths = np.array([40, 10, 10, 10])
    assert len(pack_window(lengths, PackingRules(1, 100, conversations=4))) == 1
    with pytest.raises(DataError, match="packs of 160 tokens with their padding, over pack_tokens=100"):
        pack_window(lengths, PackingRules(1, 100, conversations=4, packing="buckets"))


def test_a_step_with_fewer_conversations_than_packs_is_refused():
    with pytest.raises(RecipeError, match="global_batch=3 conversations cannot fill packs_per_step=4"):
        PackingRules(4, 100, conversations=3)


@given(st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=6), min_size=1, max_size=6))
def test_padding_is_the_share_of_padding_in_padded_batches(lengths):
    batches = [pad_sequence([torch.ones(length) for length in pack]) for pack in lengths]
    padded = sum(int((batch == 0).sum()) for batch in batches)
    assert padding_fraction(lengths) == pytest.approx(padded / sum(batch.numel() for batch in batches))


@pytest.mark.parametrize("packing", PACKINGS)
@given(st.lists(st.integers(1, 90), min_size=8, max_size=80), st.integers(1, 3), st.integers(4, 12))
@settings(max_examples=30)
def test_packs_of_a_given_number_of_conversations_differ_by_at_most_one(
    packing, lengths, packs, conversations
):
    rules = PackingRules(packs, 100_000, conversations=conversations, packing=packing)
    found = pack_window(np.array(lengths), rules)
    assert sorted(place for pack in found for place in pack) == list(range(len(lengths)))
    assert len(found) == packs * max(1, round(len(lengths) / conversations))
    sizes = [len(pack) for pack in found]
    assert max(sizes) - min(sizes) <= 1
