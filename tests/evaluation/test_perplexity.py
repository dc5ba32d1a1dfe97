import math

import pytest

from audio_lm.data.collate import Collator
from audio_lm.data.examples import ExampleMaker, with_example
from audio_lm.evaluation.perplexity import perplexity


def test_perplexity_is_over_all_learned_tokens(make_cuts, vocabulary, make_model):
    maker, model = ExampleMaker(vocabulary, "natural"), make_model()
    cuts = [
        with_example(cut, maker.example(cut, task))
        for cut, task in zip(make_cuts(2), ("asr", "sgc"), strict=True)
    ]
    packs = [Collator()([cut]) for cut in cuts]
    losses = [model.eval().loss(pack).losses.detach() for pack in packs]
    mean = sum(float(loss.sum()) for loss in losses) / sum(map(len, losses))
    model.train()
    assert perplexity(model, packs) == pytest.approx(math.exp(mean), rel=1e-5)
    assert all(module.training for module in model.modules())
    assert math.isnan(perplexity(model, []))
