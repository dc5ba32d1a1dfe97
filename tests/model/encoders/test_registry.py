from dataclasses import replace
from typing import get_args, get_type_hints

import pytest

from audio_lm.data.collate import Collator
from audio_lm.data.examples import ExampleMaker, with_example
from audio_lm.data.manifest.labels import labels_of
from audio_lm.model.build import build_model
from audio_lm.model.config import EncoderConfig, LanguageModelConfig, ModelConfig, ProjectorConfig
from audio_lm.model.decoder.generate import greedy_decode
from audio_lm.model.encoders.registry import ENCODERS
from audio_lm.model.encoders.token_count import audio_token_count
from audio_lm.model.memory_estimate import num_parameters
from tests.conftest import WAVLM

TEXT = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 32,
}
WHISPER = EncoderConfig(num_mels=80, width=32, num_layers=1, num_heads=2, mlp_width=32)
SPEECH = EncoderConfig(kind="transformers", architecture="wavlm", settings=WAVLM)
MODELS = [
    ModelConfig(encoder=encoder, projector=projector, language_model=LanguageModelConfig(settings=TEXT))
    for encoder in (WHISPER, SPEECH)
    for projector in (ProjectorConfig(), ProjectorConfig("pooled", 3), ProjectorConfig("stacked", 4, 20))
]


def named(config):
    return f"{config.encoder.kind}-{config.projector.kind}"


def test_every_kind_of_the_config_can_be_built():
    assert set(get_args(get_type_hints(EncoderConfig)["kind"])) == set(ENCODERS)


@pytest.mark.parametrize("config", MODELS, ids=named)
def test_conversations_have_one_position_per_audio_token(config, make_cuts, vocabulary):
    model = build_model(config, num_base=vocabulary.num_base, num_new=len(vocabulary.new_tokens))
    maker = ExampleMaker(vocabulary, "tags", token_count=audio_token_count(config))
    pack = Collator()([with_example(cut, maker.example(cut, "asr")) for cut in make_cuts(3, seconds=0.37)])
    logits = model(pack)
    logits.logsumexp(-1).sum().backward()
    assert logits.shape == (pack.num_learned, len(vocabulary))
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert [len(answer) for answer in greedy_decode(model, pack, end_ids=set(), max_new_tokens=2)] == [2] * 3


def test_the_token_count_of_another_model_is_refused(make_cuts, vocabulary):
    model = build_model(MODELS[3], num_base=vocabulary.num_base, num_new=len(vocabulary.new_tokens))
    maker = ExampleMaker(vocabulary, "tags", token_count=audio_token_count(MODELS[0]))
    pack = Collator()([with_example(cut, maker.example(cut, "asr")) for cut in make_cuts(1)])
    with pytest.raises(ValueError, match="expected one position per token"):
        model(pack)


@pytest.mark.parametrize("config", MODELS, ids=named)
def test_the_counted_weights_are_those_of_the_model(config):
    counts = num_parameters(config, num_base=50, num_new=7)
    model = build_model(config, num_base=50, num_new=7)
    for part, count in counts.items():
        assert count == sum(parameter.numel() for parameter in getattr(model, part).parameters()), part


def test_text_placeholders_have_the_token_rate_of_the_model(vocabulary, make_cuts):
    (cut,) = make_cuts(1)
    cut = replace(cut, recording=None)
    cut.supervisions[0].custom = {
        **(cut.supervisions[0].custom or {}),
        "places": [["one", 3], ["", 2], ["two", 5]],
    }
    at = {
        rate: ExampleMaker(vocabulary, "tags", token_count=audio_token_count(config)).places(labels_of(cut))
        for rate, config in ((25, MODELS[0]), (50, MODELS[3]), (8, MODELS[1]))
    }
    assert at[25] == [("one", 3), ("", 2), ("two", 5)]
    assert at[50] == [("one", 6), ("", 4), ("two", 10)]
    assert at[8] == [("one", 1), ("", 1), ("two", 1)]
