import pytest
import torch

from audio_lm.data.collate import pack_examples
from audio_lm.data.examples import Example
from audio_lm.errors import CheckpointError, RecipeError
from audio_lm.model.language_model import (
    hidden_states,
    load_language_model,
    new_language_model,
    num_rows,
    unpacked,
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
def test_packed_conversations_are_read_as_if_alone(architecture):
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
    assert num_rows(str(tmp_path)) == 50


def test_unpacked_is_for_a_while_only():
    model = small("qwen2")
    before = model.config._attn_implementation
    with unpacked(model):
        assert model.config._attn_implementation == "sdpa"
    assert model.config._attn_implementation == before


def test_what_is_not_there_is_said():
    with pytest.raises(RecipeError, match="Did you mean 'qwen2'"):
        new_language_model("qwen22", SMALL, num_base=50)
    with pytest.raises(RecipeError, match="Did you mean 'hidden_size'"):
        new_language_model("qwen2", {"hiden_size": 8}, num_base=50)
    for load in (load_language_model, num_rows):
        with pytest.raises(CheckpointError, match="no/such"):
            load("no/such/folder")


def test_layers_that_would_mix_conversations_are_refused():
    with pytest.raises(RecipeError, match="see each other"):
        new_language_model("mamba", {}, num_base=50)
