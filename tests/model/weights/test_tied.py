"""Folders with one or two tables of word embeddings, compared with the logits of transformers."""

import json
import logging

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoProcessor,
    Qwen2AudioForConditionalGeneration,
    Qwen2Config,
    Qwen2ForCausalLM,
    WhisperConfig,
    WhisperForConditionalGeneration,
)

from audio_lm.common.errors import CheckpointError
from audio_lm.export.hugging_face import export_model
from audio_lm.model.build import build_model
from audio_lm.model.config import EncoderConfig, LanguageModelConfig, ModelConfig
from audio_lm.model.meta_init import build_on_meta, init_weights
from audio_lm.model.weights.convert import encoder_weights
from audio_lm.model.weights.files import INDEX, read_weights, write_weights
from audio_lm.model.weights.released import open_released
from audio_lm.model.weights.tied import tied_names
from audio_lm.prompts.tokenizer import load_tokenizer
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.training.fsdp import materialise
from tests.conftest import TINY
from tests.model.originals import NUM_ROWS, SETTINGS, noise, our_logits, write_qwen2_audio

QUESTION = "<|audio_bos|><|AUDIO|><|audio_eos|>one two"
CPU = torch.device("cpu")
NAMES = {
    4: ("language_model.model.embed_tokens.weight", "language_model.lm_head.weight"),
    5: ("model.language_model.embed_tokens.weight", "lm_head.weight"),
}


def change_head(weights, words, head, kind):
    """Leave the output layer out, make it equal to the word embeddings, or keep it."""
    if kind == "absent":
        del weights[head]
    elif kind == "same":
        weights[head] = weights[words].clone()
    return weights


def write(folder, *, layout, is_tied, head, is_sharded=False):
    """Tiny Qwen2-Audio with this output layer in its files; returns the model of transformers that 4.57 would load."""
    theirs = write_qwen2_audio(folder, layout=layout)
    weights = change_head(load_file(folder / "model.safetensors"), *NAMES[layout], head)
    (folder / "model.safetensors").unlink()
    write_weights(weights, folder, max_bytes=20_000 if is_sharded else 10**9)
    assert (folder / INDEX).is_file() == is_sharded
    content = json.loads((folder / "config.json").read_text())
    content["text_config"]["tie_word_embeddings"] = is_tied
    (folder / "config.json").write_text(json.dumps(content))
    if head != "other":
        theirs.lm_head.weight.data.copy_(theirs.model.language_model.embed_tokens.weight.data)
    return theirs


def on_meta(config, num_new=0):
    model = build_on_meta(config, num_base=NUM_ROWS, num_new=num_new)
    materialise(model, CPU)
    init_weights(model, config, num_base=NUM_ROWS, num_new=num_new)
    return model


def built(config):
    return build_model(config, num_base=NUM_ROWS, num_new=0)


@pytest.mark.parametrize("build", [built, on_meta])
@pytest.mark.parametrize("layout", [4, 5])
@pytest.mark.parametrize(
    ("is_tied", "head"),
    [(True, "absent"), (True, "same"), (True, "other"), (False, "same"), (False, "other")],
)
def test_the_files_of_a_qwen2_audio_decide_about_its_output_layer(tmp_path, build, layout, is_tied, head):
    theirs = write(tmp_path, layout=layout, is_tied=is_tied, head=head, is_sharded=layout == 5)
    waves = noise(4_000)
    inputs = AutoProcessor.from_pretrained(tmp_path)(
        text=QUESTION, audio=waves, return_tensors="pt", sampling_rate=16_000
    )
    loaded = [theirs]
    if head != "absent":  # transformers 5 draws a missing output layer at random, transformers 4 ties it
        loaded.append(Qwen2AudioForConditionalGeneration.from_pretrained(tmp_path).eval())
    model = build(ModelConfig(load=str(tmp_path)))
    audio_id = theirs.config.audio_token_index
    got = our_logits(model, inputs["input_ids"][0].tolist(), audio_id, waves)
    for other in loaded:
        with torch.no_grad():
            torch.testing.assert_close(got, other(**inputs).logits[0], atol=1e-5, rtol=1e-5)
    assert bool(tied_names(model.language_model)) == (is_tied and head != "other")


@pytest.mark.parametrize("build", [built, on_meta])
def test_an_output_layer_that_is_neither_written_nor_tied_is_an_error(tmp_path, build):
    write(tmp_path, layout=4, is_tied=False, head="absent")
    with pytest.raises(
        CheckpointError, match=r"files have no lm_head.weight, .* tie_word_embeddings: true"
    ) as refused:
        build(ModelConfig(load=str(tmp_path)))
    assert str(tmp_path) in str(refused.value)


def test_two_tables_of_a_tied_configuration_are_named_in_the_log(tmp_path, caplog):
    write(tmp_path, layout=4, is_tied=True, head="other")
    with caplog.at_level(logging.WARNING):
        built(ModelConfig(load=str(tmp_path)))
    assert f"{tmp_path}: config.json ties lm_head.weight" in caplog.text


@pytest.mark.parametrize("head", ["absent", "same", "other"])
def test_export_of_a_tied_model_gives_the_same_logits(tmp_path, head):
    write(tmp_path / "source", layout=4, is_tied=True, head=head)
    vocabulary = Vocabulary(load_tokenizer(str(tmp_path / "source")), num_base=NUM_ROWS, tokens=())
    model = built(ModelConfig(load=str(tmp_path / "source")))
    export_model(model, vocabulary, tmp_path / "out")
    waves, ids = noise(4_000), [1, *[vocabulary.audio_id] * 6, 2]
    expected = our_logits(model, ids, vocabulary.audio_id, waves)
    back = build_model(
        ModelConfig(load=str(tmp_path / "out")),
        num_base=open_released(str(tmp_path / "out")).num_rows,
        num_new=0,
    )
    torch.testing.assert_close(
        our_logits(back, ids, vocabulary.audio_id, waves), expected, atol=1e-5, rtol=1e-5
    )
    theirs = Qwen2AudioForConditionalGeneration.from_pretrained(tmp_path / "out").eval()
    inputs = AutoProcessor.from_pretrained(tmp_path / "out")(
        text=QUESTION, audio=waves, return_tensors="pt", sampling_rate=16_000
    )
    got = our_logits(model, inputs["input_ids"][0].tolist(), vocabulary.audio_id, waves)
    with torch.no_grad():
        torch.testing.assert_close(got, theirs(**inputs).logits[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("build", [built, on_meta])
@pytest.mark.parametrize("is_tied", [True, False])
@pytest.mark.parametrize("head", ["absent", "same", "other"])
def test_the_files_of_a_language_model_decide_about_its_output_layer(tmp_path, build, is_tied, head):
    torch.manual_seed(0)
    config = Qwen2Config(vocab_size=NUM_ROWS, tie_word_embeddings=is_tied, **SETTINGS)
    Qwen2ForCausalLM(config).save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    words = "model.embed_tokens.weight"
    weights["lm_head.weight"] = torch.randn(weights[words].shape)
    save_file(
        change_head(weights, words, "lm_head.weight", head),
        tmp_path / "model.safetensors",
        metadata={"format": "pt"},
    )
    recipe = ModelConfig(encoder=TINY.encoder, language_model=LanguageModelConfig(load=str(tmp_path)))
    if head == "absent" and not is_tied:
        with pytest.raises(CheckpointError, match=r"lm_head.weight"):
            build(recipe)
        return
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    ours = build(recipe).language_model
    assert torch.equal(ours.lm_head.weight, theirs.lm_head.weight)
    assert torch.equal(ours.model.embed_tokens.weight, theirs.model.embed_tokens.weight)
    assert bool(tied_names(ours)) == bool(tied_names(theirs))


@pytest.mark.parametrize("has_output", [True, False])
def test_the_output_layer_of_a_whisper_is_not_needed(tmp_path, has_output):
    shape = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 64}
    decoder = {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 8}
    whisper = WhisperForConditionalGeneration(
        WhisperConfig(vocab_size=300, pad_token_id=0, **shape, **decoder, num_mel_bins=80)
    )
    whisper.save_pretrained(tmp_path)
    weights = read_weights(tmp_path)
    if has_output:
        weights["proj_out.weight"] = torch.randn(300, 32)
        save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert ("proj_out.weight" in weights) == has_output
    expected = encoder_weights(whisper.state_dict(), source="here")
    recipe = ModelConfig(encoder=EncoderConfig(load=str(tmp_path)), language_model=TINY.language_model)
    encoder = built(recipe).encoder.state_dict()
    assert all(torch.equal(encoder[name], tensor) for name, tensor in expected.items())
