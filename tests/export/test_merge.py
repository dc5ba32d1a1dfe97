import copy
from dataclasses import replace

import pytest
import torch

from audio_lm.common.errors import CheckpointError, UserError
from audio_lm.export.merge import HEAD, WORDS, merge_weights
from audio_lm.model.build import build_model
from audio_lm.model.config import EncoderConfig, LoraConfig, ProjectorConfig
from audio_lm.model.weights.parts import updates_of
from tests.conftest import TINY, WAVLM
from tests.model.originals import SETTINGS


def test_new_rows_follow_the_base_rows(make_model):
    model = make_model()
    weights = merge_weights(model)
    num_base = model.num_base
    assert torch.equal(weights[WORDS][:num_base], model.language_model.get_input_embeddings().weight)
    assert torch.equal(weights[WORDS][num_base:], model.new_tokens.input)
    assert torch.equal(weights[HEAD][num_base:], model.new_tokens.output)
    assert not [name for name in weights if name.startswith("new_tokens")]


def test_both_tables_are_returned_if_the_model_ties_them(make_model):
    settings = {**TINY.language_model.settings, "tie_word_embeddings": True}
    config = TINY.__class__(
        encoder=TINY.encoder, language_model=TINY.language_model.__class__(settings=settings)
    )
    model = build_model(config, num_base=50, num_new=3)
    model.new_tokens.output.data.add_(1.0)
    weights = merge_weights(model)
    assert torch.equal(weights[WORDS][:50], weights[HEAD][:50])
    assert not torch.equal(weights[WORDS][50:], weights[HEAD][50:])


def test_new_rows_are_divided_by_the_scale_of_the_embedding_layer():
    config = TINY.__class__(
        encoder=TINY.encoder,
        language_model=TINY.language_model.__class__(
            architecture="gemma3_text", settings={**SETTINGS, "head_dim": 8}
        ),
    )
    model = build_model(config, num_base=50, num_new=3)
    words = model.language_model.get_input_embeddings()
    rows = merge_weights(model)[WORDS]
    torch.testing.assert_close(rows[50:] * words.embed_scale, model.new_tokens.input.detach())


def test_an_unknown_projector_is_refused(make_model):
    class Wider(type(make_model().projector)):
        pass

    model = make_model()
    model.projector.__class__ = Wider
    with pytest.raises(UserError, match="projector is a Wider"):
        merge_weights(model)


def test_a_language_model_that_transformers_4_and_5_compute_differently_is_refused():
    config = TINY.__class__(
        encoder=TINY.encoder,
        language_model=TINY.language_model.__class__(
            architecture="gemma", settings={**SETTINGS, "head_dim": 8}
        ),
    )
    with pytest.raises(UserError, match="language_model is a GemmaForCausalLM"):
        merge_weights(build_model(config, num_base=50, num_new=3))


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"projector": ProjectorConfig("pooled", 2)}, "projector is a GroupProjector"),
        ({"projector": ProjectorConfig("stacked", 1)}, "projector is a GroupProjector"),
        ({"encoder": EncoderConfig(kind="transformers", settings=WAVLM)}, "encoder is a SpeechEncoder"),
    ],
)
def test_kinds_that_qwen2_audio_does_not_have_are_refused(other, words):
    with pytest.raises(UserError, match=f"cannot be written as a Qwen2-Audio: {words}"):
        merge_weights(build_model(replace(TINY, **other), num_base=50, num_new=3))


@pytest.fixture
def updated():
    """A model with updates that are not zero."""
    pytest.importorskip("peft")
    updates = {part: LoraConfig(rank=2) for part in ("encoder", "projector", "language_model")}
    model = build_model(replace(TINY, lora=updates), num_base=50, num_new=3)
    for part in updates:
        for tensor in updates_of(getattr(model, part)).values():
            torch.nn.init.normal_(tensor, std=0.2)
    return model


def test_updates_are_merged_and_the_model_is_not_changed(updated):
    before = {name: tensor.clone() for name, tensor in updated.state_dict().items()}
    weights = merge_weights(updated)
    assert updated.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in updated.state_dict().items())
    assert weights.keys() == merge_weights(build_model(TINY, num_base=50, num_new=3)).keys()
    merged = copy.deepcopy(updated)
    layers = {name: module for name, module in merged.named_modules() if hasattr(module, "lora_A")}
    for name, layer in layers.items():
        layer.merge()  # peft's own
        assert torch.equal(weights[f"{name}.weight"], layer.get_base_layer().weight), name
    for part, name in (("projector", "linear"), ("language_model", "model.layers.0.mlp.up_proj")):
        assert not torch.equal(weights[f"{part}.{name}.weight"], before[f"{part}.{name}.base_layer.weight"])


def test_an_update_that_is_not_finite_is_refused(updated):
    updates_of(updated.projector)["linear.lora_B.weight"].data[0, 0] = torch.nan
    with pytest.raises(CheckpointError, match=r"linear: the merged weight is not finite"):
        merge_weights(updated)
