import pytest
import torch

from audio_lm.data.collate import Collator
from audio_lm.data.example import Example
from audio_lm.data.examples import ExampleMaker, with_example
from audio_lm.data.packs import pack_examples
from audio_lm.model.build import build_model
from audio_lm.prompts.vocabulary import Vocabulary, tokens_for
from tests.conftest import TINY


@pytest.fixture
def pack(make_cuts, vocabulary):
    maker = ExampleMaker(vocabulary, "tags")
    return Collator()([with_example(cut, maker.example(cut, "srwt-en")) for cut in make_cuts(3)])


def test_logits_are_for_the_learned_positions_and_all_tokens(pack, make_model, vocabulary):
    logits = make_model()(pack)
    assert logits.shape == (pack.num_learned, len(vocabulary))
    assert logits.dtype == torch.float32


def test_a_gradient_reaches_every_parameter(pack, make_model):
    model = make_model()
    model(pack).logsumexp(-1).sum().backward()
    without_gradient = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert [name for name in without_gradient if "k_proj.bias" not in name] == []


def test_audio_tokens_are_at_the_audio_positions(pack, make_model):
    model = make_model()
    embedded = model.embed(pack)
    words = model.embed_tokens(pack.token_ids)
    is_audio = torch.zeros(len(words), dtype=torch.bool)
    is_audio[pack.audio_index] = True
    assert torch.equal(embedded[~is_audio], words[~is_audio])
    assert not torch.isclose(embedded[is_audio], words[is_audio]).all(dim=1).any()


def test_other_audio_gives_other_logits(pack, make_model):
    from dataclasses import replace

    model = make_model()
    other = replace(pack, waves=torch.randn_like(pack.waves))
    assert not torch.allclose(model(pack), model(other))


def test_a_pack_without_clips_gives_the_encoder_zero_gradients(make_model, vocabulary):
    ids = vocabulary.ids("one two", is_markup=False) * 3
    text_pack = pack_examples([Example("t", "chat", 0, ids, [True] * len(ids), [], ())], [])
    model = make_model()
    model(text_pack).sum().backward()
    for name, parameter in model.encoder.named_parameters():
        assert parameter.grad is not None, name
        assert not parameter.grad.any(), name


def test_new_tokens_learn_while_the_language_model_is_frozen(pack, make_model):
    model = make_model()
    model.language_model.requires_grad_(False)
    model(pack).logsumexp(-1).sum().backward()
    assert model.new_tokens.input.grad.any()
    assert model.new_tokens.output.grad.any()
    assert all(parameter.grad is None for parameter in model.language_model.parameters())


def test_a_model_without_new_tokens_has_all_gradients(make_cuts, vocabulary):
    chat = Vocabulary(vocabulary.tokenizer, num_base=vocabulary.num_base, tokens=tokens_for(["natural"]))
    maker = ExampleMaker(chat, "natural")
    pack = Collator()([with_example(cut, maker.example(cut, "srwt-en")) for cut in make_cuts(2)])
    model = build_model(TINY, num_base=chat.num_base, num_new=len(chat.new_tokens))
    assert not chat.new_tokens
    model.loss(pack, weight=1 / pack.num_learned).total.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert model(pack).shape == (pack.num_learned, chat.num_base)
