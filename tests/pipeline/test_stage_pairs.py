from types import SimpleNamespace

import numpy as np

from audio_lm.data.collate import Collator
from audio_lm.data.datamodule import PackDataset
from audio_lm.data.examples import ExampleMaker
from audio_lm.data.mixture.schedule import Cursor, ScheduledExample
from audio_lm.data.reference import PairCodes, chunks_of
from audio_lm.pipeline.stage_pairs import StagePairs
from audio_lm.training.objective_config import AnswerRule


class Lengths:
    num_choices = 2


class Schedule:
    """Two packs a step: one row of the source under both paraphrases."""

    lengths = (Lengths(),)

    def steps(self, cursor):
        assert cursor == Cursor()
        for step in range(10):
            yield cursor, [[ScheduledExample(0, 0, step % 2, choice, 1)] for choice in (0, 1)]


def pairs_of(cuts, vocabulary):
    for cut in cuts:
        cut.supervisions[0].custom["rejected"] = "two"
    maker = ExampleMaker(vocabulary, "natural", rule=AnswerRule(is_paired=True))
    source = SimpleNamespace(task="asr", source="made/noise-train")
    data = SimpleNamespace(
        packs=PackDataset([source], maker, Collator()),
        sampler=SimpleNamespace(schedule=Schedule()),
        validation={"asr": cuts[2:]},
        validation_maker=maker,
    )
    return StagePairs(data, max_tokens=1000)


def test_the_pairs_of_the_steps_and_of_the_validation_are_needed(make_cuts, vocabulary):
    pairs = pairs_of(make_cuts(3), vocabulary)
    found = dict(pairs.codes(1))
    assert sorted(set(found["asr made/noise-train"].codes.tolist())) == [0, 1]
    assert found["validation asr"].codes.tolist() == [0]
    more = dict(pairs.codes(2))
    assert sorted(set(more["asr made/noise-train"].codes.tolist())) == [0, 1, 2, 3]


def test_the_cuts_of_a_chunk_have_their_pairs(make_cuts, vocabulary):
    pairs = pairs_of(make_cuts(3), vocabulary)
    (chunk,) = chunks_of("validation asr", PairCodes(np.array([0]), np.array([0])))
    (cut,) = pairs.cuts(chunk)
    assert cut.custom["example"].rejected is not None


def test_other_validation_pairs_have_another_digest(make_cuts, vocabulary):
    pairs = pairs_of(make_cuts(3), vocabulary)
    before = pairs.validation_digest
    assert before == pairs.validation_digest
    pairs.validation["asr"][0].supervisions[0].custom["rejected"] = "three"
    assert before != pairs.validation_digest
