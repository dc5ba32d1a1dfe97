import pytest
import torch

from audio_lm.data.collate import Collator, pack_examples
from audio_lm.data.examples import Example, ExampleMaker, with_example
from audio_lm.model.decoder.generate import greedy


@pytest.fixture
def asked(make_cuts, vocabulary):
    maker = ExampleMaker(vocabulary, "tags", with_answer=False)
    return [with_example(cut, maker.example(cut, "asr")) for cut in make_cuts(4)]


def slowly(model, example, waves, end_ids, max_new_tokens):
    """The same without a cache: everything is read again for each word."""
    ids = list(example.token_ids)
    for _ in range(max_new_tokens):
        whole = Example(
            "x", "asr", 0, [*ids, 0], [False] * len(ids) + [True], example.audio_index, example.num_samples
        )
        with torch.no_grad():
            token = int(model(pack_examples([whole], waves))[-1].argmax())
        if token in end_ids:
            break
        ids.append(token)
    return ids[len(example) :]


def test_answers_equal_those_of_reading_everything_again(asked, make_model):
    model = make_model()
    collate = Collator()
    answers = greedy(model, collate(asked), end_ids={-1}, max_new_tokens=6)
    for cut, answer in zip(asked, answers, strict=True):
        waves = collate.load(cut)
        assert answer == slowly(model, cut.custom["example"], waves, {-1}, 6), cut.id


def test_company_does_not_change_an_answer(asked, make_model):
    model = make_model()
    together = greedy(model, Collator()(asked), end_ids={-1}, max_new_tokens=5)
    assert together == [greedy(model, Collator()([cut]), end_ids={-1}, max_new_tokens=5)[0] for cut in asked]


def test_text_only_is_answered_as_by_hugging_face(make_model):
    model = make_model()
    ids = [[5, 9, 11], [7, 8, 9, 10, 11, 12]]
    pack = pack_examples([Example("t", "chat", 0, row, [False] * len(row), [], ()) for row in ids], [])
    model.new_tokens.output.data.fill_(0.0)
    model.language_model.get_output_embeddings().weight.data.add_(0.0)
    ours = greedy(model, pack, end_ids={-1}, max_new_tokens=5)
    model.language_model.set_attn_implementation("sdpa")
    for row, answer in zip(ids, ours, strict=True):
        theirs = model.language_model.generate(
            torch.tensor([row]),
            max_new_tokens=5,
            min_new_tokens=5,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
        assert answer == theirs[0, len(row) :].tolist()


def test_an_end_token_ends_one_answer_and_not_the_others(asked, make_model):
    model = make_model()
    free = greedy(model, Collator()(asked), end_ids={-1}, max_new_tokens=6)
    end = free[0][2]
    ended = greedy(model, Collator()(asked), end_ids={end}, max_new_tokens=6)
    for before, after in zip(free, ended, strict=True):
        assert after == (before[: before.index(end)] if end in before else before)


def test_the_model_is_left_as_it_was(asked, make_model):
    model = make_model().train()
    greedy(model, Collator()(asked), end_ids=set(), max_new_tokens=2)
    assert model.training
    assert model.encoder.training
    model(Collator()(asked))
