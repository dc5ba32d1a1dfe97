import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from audio_lm.common.errors import CheckpointError, RecipeError
from audio_lm.data.example import Example
from audio_lm.data.packs import pack_examples
from audio_lm.model.build import build_model
from audio_lm.model.config import EncoderConfig, LanguageModelConfig, ModelConfig
from audio_lm.model.decoder.language_model import (
    embedding_std,
    hidden_states,
    load_language_model,
    mean_output_row,
    new_language_model,
    output_table,
    use_padded_attention,
)

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 256,
}


def text(length, seed):
    ids = torch.randint(0, 50, (length,), generator=torch.Generator().manual_seed(seed)).tolist()
    return Example("c", "asr", 0, ids, [True] * length, [], ())


def small(architecture):
    torch.manual_seed(0)
    return new_language_model(architecture, SMALL, num_base=50)


@pytest.mark.parametrize("architecture", ["qwen2", "llama", "mistral", "qwen3"])
def test_packed_conversations_have_the_losses_and_gradients_of_separate_ones(architecture):
    model = small(architecture)
    examples = [text(7, 0), text(3, 1), text(12, 2)]

    def losses_of(packs):
        model.zero_grad()
        losses = []
        for pack in packs:
            states = hidden_states(model, model.get_input_embeddings()(pack.token_ids), pack)
            logits = model.get_output_embeddings()(states[pack.learned_index])
            losses.append(torch.nn.functional.cross_entropy(logits, pack.labels, reduction="none"))
        joined = torch.cat(losses)
        joined.mean().backward()
        return joined.detach(), [parameter.grad.clone() for parameter in model.parameters()]

    together, gradients = losses_of([pack_examples(examples, [])])
    alone, gradients_alone = losses_of([pack_examples([example], []) for example in examples])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    for one, other in zip(gradients, gradients_alone, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_a_folder_is_loaded_with_its_weights(tmp_path):
    model = small("qwen2")
    model.save_pretrained(tmp_path)
    loaded = load_language_model(str(tmp_path))
    for (name, one), (_, other) in zip(model.named_parameters(), loaded.named_parameters(), strict=True):
        assert torch.equal(one, other), name


@pytest.mark.parametrize("architecture", ["qwen2", "qwen3", "llama", "mistral", "gemma", "gemma3_text"])
def test_a_published_model_gives_its_own_logits(architecture, tmp_path):
    torch.manual_seed(1)
    config = AutoConfig.for_model(architecture, **SMALL, head_dim=8, vocab_size=50)
    theirs = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    theirs.save_pretrained(tmp_path, max_shard_size="20KB")
    encoder = EncoderConfig(width=32, num_layers=1, num_heads=2, mlp_width=32)
    language_model = LanguageModelConfig(load=str(tmp_path))
    model = build_model(ModelConfig(encoder=encoder, language_model=language_model), num_base=50, num_new=0)
    examples = [text(9, 0), text(5, 1)]
    with torch.no_grad():
        got = model.eval()(pack_examples(examples, []))
        expected = [theirs(torch.tensor([example.token_ids])).logits[0, :-1] for example in examples]
    torch.testing.assert_close(got, torch.cat(expected), atol=1e-5, rtol=1e-5)


def test_a_folder_whose_weights_do_not_fit_its_config_is_refused_with_the_list(tmp_path):
    small("qwen2").save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    lost = weights.pop("model.layers.1.mlp.up_proj.weight")
    save_file({**weights, "model.layers.1.mlp.router.weight": lost}, tmp_path / "model.safetensors")
    words = "layers.1.mlp.up_proj.weight is missing; .*router.weight is extra"
    with pytest.raises(CheckpointError, match=words):
        load_language_model(str(tmp_path))
    save_file({**weights, "model.layers.1.mlp.up_proj.weight": lost[:3]}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"up_proj.weight has shape \(3, 32\) and not \(48, 32\)"):
        load_language_model(str(tmp_path))


def test_pickled_weights_are_not_read(tmp_path):
    model = small("qwen2")
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_language_model(str(tmp_path))


def test_the_attention_implementation_is_restored():
    model = small("qwen2")
    before = model.config._attn_implementation
    with use_padded_attention(model):
        assert model.config._attn_implementation == "sdpa"
    assert model.config._attn_implementation == before


def test_unknown_architectures_settings_and_folders_are_refused():
    with pytest.raises(RecipeError, match="Did you mean 'qwen2'"):
        new_language_model("qwen22", SMALL, num_base=50)
    with pytest.raises(RecipeError, match="Did you mean 'hidden_size'"):
        new_language_model("qwen2", {"hiden_size": 8}, num_base=50)
    with pytest.raises(RecipeError, match="do not make a qwen2"):
        new_language_model("qwen2", {"hidden_size": "wide"}, num_base=50)
    with pytest.raises(CheckpointError, match="no/such"):
        load_language_model("no/such/folder")


def test_layers_that_would_mix_conversations_are_refused():
    with pytest.raises(RecipeError, match="see each other"):
        new_language_model("mamba", {}, num_base=50)


def test_the_mean_output_row_gives_the_mean_logit_and_embeddings_their_deviation():
    model = small("qwen2")
    hidden = torch.randn(6, 32)
    logits = output_table(model)(hidden)
    torch.testing.assert_close(hidden @ mean_output_row(model), logits.mean(-1), atol=1e-6, rtol=1e-5)
    assert embedding_std(model) == pytest.approx(float(model.get_input_embeddings().weight.detach().std()))
    given = {name: 3 * value for name, value in model.state_dict().items()}
    assert embedding_std(model, given) == pytest.approx(3 * embedding_std(model))
    torch.testing.assert_close(mean_output_row(model, given), 3 * mean_output_row(model))
