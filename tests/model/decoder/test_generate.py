from dataclasses import replace

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from audio_lm.data.collate import Collator
from audio_lm.data.example import Example
from audio_lm.data.examples import ExampleMaker, with_example
from audio_lm.data.packs import pack_examples
from audio_lm.model.decoder.generate import GenerationOptions, generate, greedy_decode, padded_left, stream
from audio_lm.model.decoder.sampling import SamplingConfig
from audio_lm.prompts.stop_strings import StopStrings


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


SAMPLED = GenerationOptions({-1}, 8, SamplingConfig(temperature=1.2, top_k=40, top_p=0.95, seed=5))


def ids_of(answers):
    return [[answer.token_ids for answer in of_one] for of_one in answers]


def test_sampled_answers_are_the_same_in_any_batch(prompts, make_model):
    model = make_model()
    options = replace(SAMPLED, num_answers=3)
    together = ids_of(generate(model, Collator()(prompts), options))
    reversed_ = ids_of(generate(model, Collator()(prompts[::-1]), options))
    alone = [ids_of(generate(model, Collator()([cut]), options))[0] for cut in prompts]
    assert together == reversed_[::-1] == alone
    assert len({tuple(answer) for of_one in together for answer in of_one}) > len(prompts)


def test_several_answers_share_the_encoding_and_the_prompt(prompts, make_model, monkeypatch):
    """The first of several answers is the only one of a single answer; clip and prompt are processed once."""
    model = make_model()
    encoded, processed = [], []
    embed, encode_audio = model.embed_tokens, model.encode_audio
    monkeypatch.setattr(model, "embed_tokens", lambda ids: processed.append(tuple(ids.shape)) or embed(ids))
    monkeypatch.setattr(
        model,
        "encode_audio",
        lambda waves, counts, *rest: encoded.append(counts) or encode_audio(waves, counts, *rest),
    )
    pack = Collator()(prompts)
    several = ids_of(generate(model, pack, replace(SAMPLED, num_answers=4)))
    assert encoded == [pack.num_samples]
    assert processed == [(pack.token_ids.numel(),), *[(4 * len(prompts), 1)] * 7]
    assert [answers[:1] for answers in several] == ids_of(generate(model, pack, SAMPLED))


def test_keys_and_seed_determine_the_draws(prompts, make_model):
    model, pack = make_model(), Collator()(prompts)
    first = ids_of(generate(model, pack, SAMPLED, keys=["a", "b", "c", "d"]))
    assert first == ids_of(generate(model, pack, SAMPLED, keys=["a", "b", "c", "d"]))
    assert first != ids_of(generate(model, pack, SAMPLED, keys=["a", "b", "c", "e"]))
    assert first[:3] == ids_of(generate(model, pack, SAMPLED, keys=["a", "b", "c", "e"]))[:3]
    other = replace(SAMPLED, sampling=replace(SAMPLED.sampling, seed=6))
    assert first != ids_of(generate(model, pack, other, keys=["a", "b", "c", "d"]))


def test_streamed_tokens_are_the_answers(prompts, make_model):
    model, pack = make_model(), Collator()(prompts)
    options = replace(SAMPLED, num_answers=2)
    streamed = [[[], []] for _ in prompts]
    for step in stream(model, pack, options):
        assert model.language_model.config._attn_implementation != "sdpa", (
            "other threads could not use the model"
        )
        for token in step:
            streamed[token.conversation][token.answer].append(token.token_id)
    assert streamed == ids_of(generate(model, pack, options))


def test_a_stop_string_ends_only_its_own_answer(prompts, make_model, vocabulary):
    model, pack = make_model(), Collator()(prompts)
    free = generate(model, pack, SAMPLED)
    string = vocabulary.text(free[0][0].token_ids[3:5])
    stopped = generate(model, pack, replace(SAMPLED, stop=StopStrings(vocabulary, [string])))
    for before, after in zip(free, stopped, strict=True):
        text = vocabulary.text(before[0].token_ids)
        assert after[0].is_ended == (string in text)
        kept = vocabulary.text(after[0].token_ids)
        assert kept == text if string not in text else text.startswith(kept) and string not in kept
    assert stopped[0][0].is_ended
    assert len(stopped[0][0].token_ids) <= 3


def test_an_answer_of_the_maximum_length_is_not_ended(prompts, make_model):
    model, pack = make_model(), Collator()(prompts)
    ((answer,), *_) = generate(model, pack, GenerationOptions({-1}, 3))
    assert (len(answer.token_ids), answer.is_ended) == (3, False)
    ((ended,), *_) = generate(model, pack, GenerationOptions({answer.token_ids[1]}, 3))
    assert ended.is_ended
    assert list(stream(model, pack, GenerationOptions({-1}, 0))) == []


class OnlyEven:
    """Constraint: even token ids that were not used."""

    def constrain(self, logits_V, token_ids):
        masked = logits_V.clone()
        masked[1::2] = -torch.inf
        masked[token_ids] = -torch.inf
        return masked


@pytest.mark.parametrize("sampling", [SamplingConfig(), SAMPLED.sampling])
def test_a_forbidden_token_is_never_generated(prompts, make_model, sampling):
    options = GenerationOptions({-1}, 8, sampling, constraint=OnlyEven())
    for (answer,) in generate(make_model(), Collator()(prompts), options):
        assert all(token % 2 == 0 for token in answer.token_ids)
        assert len(set(answer.token_ids)) == 8


def test_rows_are_padded_as_torch_pads_on_the_left():
    rows = [torch.randn(length, 3) for length in (4, 1, 6)]
    embedded, borders = torch.cat(rows), [0, 4, 5, 11]
    padded, mask = padded_left(embedded, borders)
    assert torch.equal(padded, pad_sequence(rows, batch_first=True, padding_side="left"))
    assert torch.equal(padded[mask.bool()], embedded)
    assert mask.sum(1).tolist() == [4, 1, 6]
