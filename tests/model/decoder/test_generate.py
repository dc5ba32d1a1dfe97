import pytest
import torch

from audio_lm.data.collate import Collator, pack_examples
from audio_lm.data.examples import Example, ExampleMaker, with_example
from audio_lm.model.decoder.generate import greedy_decode


@pytest.fixture
def prompts(make_cuts, vocabulary):
    maker = ExampleMaker(vocabulary, "tags", with_answer=False)
    return [with_example(cut, maker.example(cut, "asr")) for cut in make_cuts(4)]


def greedy_without_cache(model, example, waves, end_ids, max_new_tokens):
    """Greedy decoding without a cache: the whole sequence is processed again for each token."""
    ids = list(example.token_ids)
    for _ in range(max_new_tokens):
        sequence = Example(
            "x", "asr", 0, [*ids, 0], [False] * len(ids) + [True], example.audio_index, example.num_samples
        )
        with torch.no_grad():
            token = int(model(pack_examples([sequence], waves))[-1].argmax())
        if token in end_ids:
            break
        ids.append(token)
    return ids[len(example) :]


def test_answers_equal_those_without_a_cache(prompts, make_model):
    model = make_model()
    collate = Collator()
    answers = greedy_decode(model, collate(prompts), end_ids={-1}, max_new_tokens=6)
    for cut, answer in zip(prompts, answers, strict=True):
        waves = collate.load(cut)
        assert answer == greedy_without_cache(model, cut.custom["example"], waves, {-1}, 6), cut.id


def test_an_answer_does_not_depend_on_other_conversations(prompts, make_model):
    model = make_model()
    together = greedy_decode(model, Collator()(prompts), end_ids={-1}, max_new_tokens=5)
    assert together == [
        greedy_decode(model, Collator()([cut]), end_ids={-1}, max_new_tokens=5)[0] for cut in prompts
    ]


def test_answers_to_text_equal_those_of_hugging_face(make_model):
    model = make_model()
    ids = [[5, 9, 11], [7, 8, 9, 10, 11, 12]]
    pack = pack_examples([Example("t", "chat", 0, row, [False] * len(row), [], ()) for row in ids], [])
    model.new_tokens.output.data.fill_(0.0)
    model.language_model.get_output_embeddings().weight.data.add_(0.0)
    ours = greedy_decode(model, pack, end_ids={-1}, max_new_tokens=5)
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


def test_an_end_token_ends_only_its_own_answer(prompts, make_model):
    model = make_model()
    free = greedy_decode(model, Collator()(prompts), end_ids={-1}, max_new_tokens=6)
    end = free[0][2]
    ended = greedy_decode(model, Collator()(prompts), end_ids={end}, max_new_tokens=6)
    for before, after in zip(free, ended, strict=True):
        assert after == (before[: before.index(end)] if end in before else before)


def test_the_model_stays_in_training_mode(prompts, make_model):
    model = make_model().train()
    greedy_decode(model, Collator()(prompts), end_ids=set(), max_new_tokens=2)
    assert model.training
    assert model.encoder.training
    model(Collator()(prompts))
