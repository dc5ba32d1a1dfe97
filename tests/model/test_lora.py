import importlib.util
from dataclasses import replace

import pytest
import torch

from audio_lm.common.errors import RecipeError
from audio_lm.data.collate import Collator
from audio_lm.data.examples import ExampleMaker, with_example
from audio_lm.model.build import build_model
from audio_lm.model.config import EncoderConfig, LanguageModelConfig, LoraConfig, ModelConfig
from audio_lm.model.decoder.language_model import new_language_model
from audio_lm.model.lora import add_lora, merge_lora
from audio_lm.model.memory_estimate import num_parameters
from audio_lm.model.weights.parts import load_weights, save_model, updates_of
from audio_lm.training.config import OptimizerConfig, PartConfig
from audio_lm.training.next_token import NextTokenModule
from audio_lm.training.param_groups import learning_rates

pytest.importorskip("peft")

TEXT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
}
PLAIN = ModelConfig(
    encoder=EncoderConfig(num_mels=80, width=32, num_layers=2, num_heads=2, mlp_width=48),
    language_model=LanguageModelConfig(settings=TEXT),
)
LORA = replace(
    PLAIN,
    lora={
        "encoder": LoraConfig(rank=2, targets=["q_proj", "fc1"]),
        "projector": LoraConfig(rank=3),
        "language_model": LoraConfig(rank=4, alpha=8.0),
    },
)


@pytest.fixture
def make(vocabulary):
    def build(config):
        torch.manual_seed(0)
        return build_model(config, num_base=vocabulary.num_base, num_new=len(vocabulary.new_tokens))

    return build


@pytest.fixture
def pack(make_cuts, vocabulary):
    maker = ExampleMaker(vocabulary, "tags")
    return Collator()([with_example(cut, maker.example(cut, "srwt-en")) for cut in make_cuts(3)])


def trained(model, pack, *, steps=3):
    """Train only the updates; all other parts are frozen."""
    names = [name for name, _ in model.named_parameters()]
    parts = {part: PartConfig() for part in ("encoder", "projector", "new_tokens", "language_model")}
    parts |= {f"{part}_lora": PartConfig(lr=1e-2) for part in ("encoder", "projector", "language_model")}
    module = NextTokenModule(
        model, rate_of=learning_rates(names, parts), factor=lambda step: 1.0, optimizer=OptimizerConfig()
    )
    optimizer = module.configure_optimizers()["optimizer"]
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"]
    for _ in range(steps):
        model.loss(pack, weight=1 / pack.num_learned).total.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def test_a_new_update_changes_nothing(make, pack):
    assert torch.equal(make(LORA)(pack), make(PLAIN)(pack))


def test_updates_are_trained_and_nothing_else_changes(make, pack, tmp_path):
    model = make(LORA)
    save_model(model, tmp_path / "before")
    start = model(pack).detach()
    trained(model, pack)
    assert (model(pack) - start).abs().max() > 1e-2
    save_model(model, tmp_path / "after")
    for path in sorted((tmp_path / "before").iterdir()):
        is_same = path.read_bytes() == (tmp_path / "after" / path.name).read_bytes()
        assert is_same == ("_lora" not in path.name), path.name
    moved = {
        name
        for part in ("encoder", "projector", "language_model")
        for name in updates_of(getattr(model, part))
    }
    assert all(".lora_" in name for name in moved)


def test_a_gradient_reaches_every_update(make, pack):
    model = trained(make(LORA), pack, steps=1)
    model.loss(pack, weight=1 / pack.num_learned).total.backward()
    updates = {name: weight for name, weight in model.named_parameters() if "lora" in name}
    assert [name for name, weight in updates.items() if not weight.grad.any()] == []


def test_merged_weights_give_the_same_logits(make, pack):
    model, plain = trained(make(LORA), pack), make(PLAIN)
    fresh = plain(pack).detach()
    plain.load_state_dict(plain.state_dict() | merge_lora(model))
    torch.testing.assert_close(plain(pack), model(pack), atol=1e-5, rtol=1e-4)
    assert (plain(pack) - fresh).abs().max() > 1e-2


def test_files_of_the_base_weights_fit_a_model_without_updates(make, pack, tmp_path):
    model = trained(make(LORA), pack)
    save_model(model, tmp_path)
    names = {path.name.removesuffix(".safetensors") for path in tmp_path.iterdir()}
    assert {name for name in names if "lora" in name} == {
        "encoder_lora",
        "projector_lora",
        "language_model_lora",
    }
    plain = make(PLAIN)
    load_weights(plain, tmp_path)
    assert torch.equal(plain(pack), make(PLAIN)(pack))
    again = make(LORA)
    load_weights(again, tmp_path)
    assert torch.equal(again(pack), model(pack))


def test_the_counted_update_weights_are_those_of_the_model(make):
    model = make(LORA)
    counts = num_parameters(LORA, num_base=model.num_base, num_new=3)
    for part in LORA.lora:
        count = sum(tensor.numel() for tensor in updates_of(getattr(model, part)).values())
        assert counts[f"{part}_lora"] == count, part


def test_the_output_layer_and_layers_that_are_never_called_are_no_targets():
    language_model = new_language_model("qwen2", TEXT, num_base=50)
    add_lora(language_model, LoraConfig(rank=2))
    assert "lm_head.lora_A.weight" not in updates_of(language_model)
    attention = torch.nn.MultiheadAttention(8, 2)
    with pytest.raises(RecipeError, match="unknown lora target 'out_proj'"):
        add_lora(torch.nn.ModuleList([attention, torch.nn.Linear(8, 8)]), LoraConfig(targets=["out_proj"]))


def test_an_unknown_target_or_part_is_refused():
    with pytest.raises(RecipeError, match=r"unknown lora target 'q_prj'\. Did you mean 'q_proj'"):
        add_lora(new_language_model("qwen2", TEXT, num_base=50), LoraConfig(targets=["q_prj"]))
    with pytest.raises(RecipeError, match="unknown part under lora 'new_tokens'"):
        ModelConfig(lora={"new_tokens": LoraConfig()})
    with pytest.raises(RecipeError, match="rank 0"):
        LoraConfig(rank=0)


def test_without_peft_the_error_names_the_package(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RecipeError, match=r"pip install 'audio-lm\[lora\]'"):
        add_lora(torch.nn.Sequential(torch.nn.Linear(2, 2)), LoraConfig())
