from dataclasses import replace

import pytest
import torch

from audio_lm.data.collate import Collator
from audio_lm.data.examples import ExampleMaker, with_example
from audio_lm.training.objective_config import AnswerRule
from audio_lm.training.sampled_pack import SampledAnswer, pack_answers

RULE = AnswerRule(num_sampled=2, max_new_tokens=3)


@pytest.fixture
def cuts(make_cuts):
    return make_cuts(3)


def questions_of(cuts, vocabulary):
    maker = ExampleMaker(vocabulary, "natural", with_answer=False, rule=RULE)
    return Collator()([with_example(cut, maker.example(cut, "asr", n)) for n, cut in enumerate(cuts)])


def test_answers_are_packed_as_given_answers_are(cuts, vocabulary, make_model):
    """Two answers to each of two questions, against the same conversations with their answers in the data."""
    questions = questions_of(cuts, vocabulary)
    maker = ExampleMaker(vocabulary, "natural")
    given = [maker.example(cut, "asr", n) for n, cut in enumerate(cuts)]
    of_conversation = [0, 0, 2]
    ids = [given[n].token_ids[given[n].is_learned.index(True) :] for n in of_conversation]
    answers = list(map(SampledAnswer, of_conversation, ids, [1.0, 2.0, 3.0]))
    packed = pack_answers(questions, answers)
    expected = Collator()([with_example(cuts[n], given[n]) for n in of_conversation])
    for name in (
        "token_ids",
        "position_ids",
        "cu_seq_lens",
        "audio_index",
        "learned_index",
        "labels",
        "task_index",
    ):
        assert torch.equal(getattr(packed, name), getattr(expected, name)), name
    assert packed.advantages.tolist() == [1.0, 2.0, 3.0]
    assert packed.num_samples == questions.num_samples  # every clip once
    model = make_model().eval()
    with torch.no_grad():
        torch.testing.assert_close(
            model.loss(packed).losses, model.loss(expected).losses, rtol=1e-5, atol=1e-5
        )


def test_a_pack_without_answers_has_no_labels(cuts, vocabulary, make_model):
    packed = pack_answers(questions_of(cuts, vocabulary), [])
    assert packed.num_learned == 0
    make_model().loss(packed).total.backward()


def test_questions_reserve_room_for_all_answers(cuts, vocabulary):
    maker = ExampleMaker(vocabulary, "natural", with_answer=False, rule=RULE)
    example = maker.example(cuts[0], "asr")
    longest = [SampledAnswer(0, [1] * RULE.max_new_tokens, 0.0)] * RULE.num_sampled
    packed = pack_answers(questions_of(cuts[:1], vocabulary), longest)
    assert len(packed.token_ids) == len(example)
    assert replace(example, num_reserved=0).target == ("one two", "en")
