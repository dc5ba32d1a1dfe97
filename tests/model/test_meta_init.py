from dataclasses import replace

import pytest
import torch

from audio_lm.model.build import build_model
from audio_lm.model.config import EncoderConfig, LoraConfig, ModelConfig
from audio_lm.model.meta_init import build_on_meta, init_weights, parameters_on_meta
from audio_lm.training.fsdp import materialise
from tests.conftest import TINY
from tests.model.originals import NUM_ROWS, write_qwen2_audio

NUMBERS = {"num_base": 50, "num_new": 7}
CPU = torch.device("cpu")


def initialized(config, ordered_rows=range(0)):
    model = build_on_meta(config, **NUMBERS)
    assert all(parameter.is_meta for parameter in model.parameters())
    materialise(model, CPU)
    torch.manual_seed(3)
    init_weights(model, config, **NUMBERS, ordered_rows=ordered_rows)
    return model


def assert_same_weights(config, ordered_rows=range(0)):
    torch.manual_seed(3)
    built, model = (
        build_model(config, **NUMBERS, ordered_rows=ordered_rows),
        initialized(config, ordered_rows),
    )
    one, other = built.state_dict(), model.state_dict()
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name
    for (name, value), (_, twin) in zip(built.named_buffers(), model.named_buffers(), strict=True):
        assert torch.equal(value, twin), name


def test_random_weights_equal_those_of_build_model():
    assert_same_weights(TINY, range(2, 6))


def test_another_seed_gives_other_weights():
    torch.manual_seed(4)
    assert not torch.equal(build_model(TINY, **NUMBERS).new_tokens.input, initialized(TINY).new_tokens.input)


def test_low_rank_updates_equal_those_of_build_model():
    pytest.importorskip("peft")
    assert_same_weights(
        replace(TINY, lora={"language_model": LoraConfig(rank=2), "encoder": LoraConfig(rank=3)})
    )


@pytest.mark.parametrize("tied", [False, True])
def test_a_published_language_model_is_read_from_its_files(tmp_path, tied):
    settings = TINY.language_model.settings | {"tie_word_embeddings": tied}
    whole = build_model(
        replace(TINY, language_model=replace(TINY.language_model, settings=settings)), **NUMBERS
    )
    whole.language_model.save_pretrained(tmp_path)
    assert_same_weights(replace(TINY, language_model=replace(TINY.language_model, load=str(tmp_path))))


def test_an_encoder_of_transformers_equals_that_of_build_model():
    settings = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "conv_dim": [16, 16],
        "conv_kernel": [10, 3],
        "conv_stride": [5, 2],
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 2,
        "feat_extract_norm": "layer",
    }
    encoder = EncoderConfig(kind="transformers", architecture="wav2vec2", settings=settings)
    assert_same_weights(replace(TINY, encoder=encoder))


def test_modules_are_on_meta_only_inside_the_context():
    with parameters_on_meta():
        assert torch.nn.Linear(2, 2).weight.is_meta
    assert not torch.nn.Linear(2, 2).weight.is_meta


def test_a_whole_published_model_is_read_from_its_files(tmp_path):
    write_qwen2_audio(tmp_path)
    config = ModelConfig(load=str(tmp_path))
    torch.manual_seed(3)
    built = build_model(config, num_base=NUM_ROWS, num_new=7, ordered_rows=range(2, 6)).state_dict()
    model = build_on_meta(config, num_base=NUM_ROWS, num_new=7)
    materialise(model, CPU)
    torch.manual_seed(3)
    init_weights(model, config, num_base=NUM_ROWS, num_new=7, ordered_rows=range(2, 6))
    assert all(torch.equal(value, built[name]) for name, value in model.state_dict().items())
