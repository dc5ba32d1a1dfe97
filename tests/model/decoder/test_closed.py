import math

import pytest
import torch

from audio_lm.data.collate import Collator
from audio_lm.data.example import Example
from audio_lm.data.examples import ExampleMaker, with_example
from audio_lm.data.packs import pack_examples
from audio_lm.model.decoder.closed import AnswerTree, allowed_tokens, score_answers
from audio_lm.model.decoder.generate import greedy_decode

END = 2
PATHS = ((10, 11, END), (10, 12, END), (10, 11, 13, END), (20, END), (21, 5, 6, 7, END))


@pytest.fixture
def prompts(make_cuts, vocabulary):
    maker = ExampleMaker(vocabulary, "tags", with_answer=False)
    return [with_example(cut, maker.example(cut, "asr")) for cut in make_cuts(5)]


@pytest.fixture
def model(make_model):
    """A model whose answers differ from clip to clip."""
    model = make_model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)
    return model


def test_the_nodes_of_a_tree_lead_to_a_choice_between_tokens():
    tree = AnswerTree(PATHS)
    assert tree.followers[()] == [10, 20, 21]
    assert tree.followers[10, 11] == [END, 13]
    assert tree.followers[21, 5] == [6]
    assert tree.beginnings == [(10,), (10, 11)], "nothing is computed where only one token may follow"
    assert len(tree) == 2


@pytest.mark.parametrize("paths", [((),), ((1,), (1,)), ((1,), (1, 2))])
def test_answers_that_cannot_be_distinguished_are_refused(paths):
    with pytest.raises(ValueError, match="empty, equal to another, or the beginning"):
        AnswerTree(paths)


def test_log_probabilities_are_those_of_each_answer_alone_among_the_allowed_tokens(prompts, model):
    collate, tree = Collator(), AnswerTree(PATHS)
    found = score_answers(model, collate(prompts), [tree] * len(prompts))
    for cut, closed in zip(prompts, found, strict=True):
        example, waves = cut.custom["example"], collate.load(cut)
        for path, logprob in zip(PATHS, closed.logprobs, strict=True):
            ids = [*example.token_ids, *path]
            is_learned = [False] * len(example) + [True] * len(path)
            whole = Example("x", "asr", 0, ids, is_learned, example.audio_index, example.num_samples)
            with torch.no_grad():
                logits = model(pack_examples([whole], waves))
            alone = 0.0
            for end, token in enumerate(path):
                allowed = tree.followers[path[:end]]
                alone += float(logits[end, allowed].log_softmax(-1)[allowed.index(token)])
            assert logprob == pytest.approx(alone, abs=2e-4), (cut.id, path)
        assert sum(map(math.exp, closed.logprobs)) == pytest.approx(1)


def test_the_best_answer_is_that_of_constrained_greedy_decoding(prompts, model):
    rng = torch.Generator().manual_seed(0)
    best = set()
    for _ in range(20):
        rows = torch.randint(3, 200, (6, 3), generator=rng).tolist()
        paths = tuple(dict.fromkeys((row[0] % 5 + 3, *row[1:], END) for row in rows))
        trees = [AnswerTree(paths)] * len(prompts)
        found = score_answers(model, Collator()(prompts), trees)
        generated = greedy_decode(
            model, Collator()(prompts), end_ids={END}, max_new_tokens=5, allowed=allowed_tokens(trees, END)
        )
        assert [list(paths[one.best]) for one in found] == [[*ids, END] for ids in generated]
        best |= {one.best for one in found}
    assert len(best) > 2, "otherwise the choice would not depend on the clip"


def test_each_conversation_may_have_its_own_answers(prompts, model):
    trees = [AnswerTree(PATHS[: 2 + number % 3]) for number in range(len(prompts))]
    together = score_answers(model, Collator()(prompts), trees)
    for cut, tree, closed in zip(prompts, trees, together, strict=True):
        (alone,) = score_answers(model, Collator()([cut]), [tree])
        assert closed.best == alone.best
        assert closed.logprobs == pytest.approx(alone.logprobs, abs=2e-4)


def test_answers_of_one_token_need_no_nodes(prompts, model):
    trees = [AnswerTree(((5,), (6,)))] * len(prompts)
    found = score_answers(model, Collator()(prompts), trees)
    logits = greedy_decode(
        model, Collator()(prompts), end_ids={END}, max_new_tokens=1, allowed=allowed_tokens(trees, END)
    )
    assert [[(5, 6)[one.best]] for one in found] == logits
