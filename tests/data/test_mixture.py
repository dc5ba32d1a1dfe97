from collections import Counter
from itertools import islice

import pytest

from audio_lm.data.config import MixtureConfig
from audio_lm.data.examples import ExampleMaker
from audio_lm.data.mixture import Mixture, Passes
from audio_lm.errors import RecipeError


def mixture_of(make_cuts, vocabulary, weights, *, seed=0):
    cuts = {"asr": make_cuts(3, subset="few"), "sgc": make_cuts(20, subset="many")}
    return Mixture(cuts, weights, maker=ExampleMaker(vocabulary, "tags", seed), seed=seed)


def test_weights_are_drawn_not_sizes(make_cuts, vocabulary):
    mixture = mixture_of(make_cuts, vocabulary, {"asr": 3, "sgc": 1})
    drawn = Counter(task for task, _ in islice(mixture.drawn(), 4_000))
    assert abs(drawn["asr"] / 4_000 - 0.75) < 0.03, drawn


def test_a_weight_of_zero_is_never_heard(make_cuts, vocabulary):
    mixture = mixture_of(make_cuts, vocabulary, {"asr": 1, "sgc": 0})
    assert {task for task, _ in islice(mixture.drawn(), 50)} == {"asr"}


def test_the_same_seed_draws_the_same_clips_and_another_seed_others(make_cuts, vocabulary):
    def ids(seed):
        mixture = mixture_of(make_cuts, vocabulary, {"asr": 1, "sgc": 1}, seed=seed)
        return [(cut.id, cut.custom["example"].token_ids) for cut in islice(mixture, 60)]

    assert ids(7) == ids(7) != ids(8)


def test_every_pass_hears_every_cut_once_in_another_order(make_cuts):
    cuts = make_cuts(10)
    drawn = [cut.id for _, cut in islice(Passes(cuts, task="asr", seed=0), 20)]
    assert sorted(drawn[:10]) == sorted(drawn[10:]) == sorted(cut.id for cut in cuts)
    assert drawn[:10] != drawn[10:]


def test_a_weight_without_a_source_is_refused():
    with pytest.raises(RecipeError, match=r"no source for \['ars'\]"):
        MixtureConfig(sources={"asr": ["fsdd/train"]}, weights={"asr": 1.0, "ars": 1.0})


def test_weights_that_are_all_zero_are_refused():
    with pytest.raises(RecipeError, match="all weights are zero"):
        MixtureConfig(sources={"asr": ["fsdd/train"]}, weights={"asr": 0.0})
