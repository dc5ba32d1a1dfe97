import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from audio_lm.model.build import build_model
from audio_lm.model.config import LoraConfig
from audio_lm.training.config import OptimizerConfig, PartConfig
from audio_lm.training.optimizers import (
    MuonAndAdamW,
    build_optimizer,
    hidden_matrices,
    is_without_effect,
)
from audio_lm.training.param_groups import learning_rates
from tests.conftest import TINY

PARTS = {name: PartConfig(lr=1e-2) for name in ("encoder", "projector", "new_tokens", "language_model")}


@pytest.fixture
def model(make_model):
    return make_model()


def optimizer_of(model, *, parts=PARTS, is_half=False, **settings):
    rates = learning_rates([name for name, _ in model.named_parameters()], parts)
    optimizer = build_optimizer(model, rates, OptimizerConfig(**settings), is_half=is_half)
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"]
    return optimizer


def step(model, optimizer, seed):
    torch.manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()


def test_muon_updates_linear_layers_and_no_embedding_or_output_layer(model):
    names = hidden_matrices(model)
    assert "projector.linear.weight" in names
    assert any("self_attn.q_proj.weight" in name for name in names)
    assert all(dict(model.named_parameters())[name].ndim == 2 for name in names)
    others = {name for name, parameter in model.named_parameters() if parameter.ndim >= 2} - names
    excluded = ("conv", "embed_tokens", "lm_head", "new_tokens")
    assert others
    assert all(any(piece in name for piece in excluded) for name in others)


def test_a_tied_output_layer_is_no_hidden_matrix():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.head, self.hidden = (
                nn.Embedding(8, 4),
                nn.Linear(4, 8, bias=False),
                nn.Linear(4, 4),
            )
            self.head.weight = self.embedding.weight

    assert hidden_matrices(Tied()) == {"hidden.weight"}


def test_adamw_updates_lora_factors_and_muon_their_base_weights():
    pytest.importorskip("peft")
    updates = {part: LoraConfig(rank=2) for part in ("encoder", "projector", "language_model")}
    plain = build_model(TINY, num_base=50, num_new=3)
    model = build_model(replace(TINY, lora=updates), num_base=50, num_new=3)
    base_weights = {name.replace(".base_layer.", ".") for name in hidden_matrices(model)}
    assert base_weights == hidden_matrices(plain)
    parts = PARTS | {f"{part}_lora": PartConfig(lr=1e-3) for part in updates}
    optimizer = optimizer_of(model, parts=parts, kind="muon", matrix_factor=7.0)
    assert isinstance(optimizer, MuonAndAdamW)
    factors = {id(parameter) for name, parameter in model.named_parameters() if "lora_" in name}
    of_updates = [group for group in optimizer.param_groups if factors.intersection(map(id, group["params"]))]
    assert {group["peak_lr"] for group in of_updates} == {1e-3}, "matrix_factor is for Muon only"
    assert sum(len(group["params"]) for group in of_updates) == len(factors)
    of_muon = {id(parameter) for group in optimizer.muon.param_groups for parameter in group["params"]}
    assert not factors & of_muon


def test_steps_equal_those_of_torch_muon_and_adamw(model):
    twin = copy.deepcopy(model)
    ours = optimizer_of(model, kind="muon", matrix_factor=2.0, weight_decay=0.1, is_half=True)
    matrices = hidden_matrices(twin)
    named = dict(twin.named_parameters())
    muon = torch.optim.Muon(
        [named[name] for name in matrices],
        lr=2e-2,
        weight_decay=0.1,
        adjust_lr_fn="match_rms_adamw",
    )
    rest = [parameter for name, parameter in named.items() if name not in matrices]
    adamw = torch.optim.AdamW(
        [
            {"params": [p for p in rest if p.ndim >= 2], "weight_decay": 0.1},
            {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=1e-2,
        betas=(0.9, 0.98),
        eps=1e-6,
        fused=True,
    )
    for seed in range(3):
        step(model, ours, seed)
        torch.manual_seed(seed)
        for parameter in twin.parameters():
            parameter.grad = torch.randn_like(parameter)
        muon.step()
        adamw.step()
    for (name, parameter), expected in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert torch.equal(parameter, expected), name


def relative_update_distance(make_model, noise, **settings):
    """Relative distance of the Muon updates of two gradients whose relative distance is ``noise``."""
    steps = []
    for level in (0.0, noise):
        model = make_model()
        before = [parameter.detach().clone() for parameter in model.parameters()]
        optimizer = optimizer_of(model, kind="muon", weight_decay=0.0, **settings)
        generator = torch.Generator().manual_seed(0)
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
            parameter.grad *= 1 + level * torch.randn(parameter.shape, generator=generator)
        optimizer.step()
        matrices = hidden_matrices(model)
        pairs = zip(model.named_parameters(), before, strict=True)
        steps.append(torch.cat([(new - old).flatten() for (name, new), old in pairs if name in matrices]))
    return float(((steps[0] - steps[1]).norm() / steps[0].norm()).detach())


def test_in_float32_muon_does_not_amplify_the_rounding_of_gradient_sums(make_model):
    """In bf16, losses of runs with different world sizes would differ after two steps."""
    assert relative_update_distance(make_model, 1e-6) < 1e-5
    assert relative_update_distance(make_model, 1e-6, is_half=True) > 1e-3
    assert relative_update_distance(make_model, 1e-2) > 1e-3


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_restored_optimizer_continues_bit_equal(model, kind):
    optimizer = optimizer_of(model, kind=kind)
    step(model, optimizer, 0)
    twin, saved = copy.deepcopy(model), copy.deepcopy(optimizer.state_dict())
    resumed = optimizer_of(twin, kind=kind)
    resumed.load_state_dict(saved)
    control = copy.deepcopy(model)
    not_restored = optimizer_of(control, kind=kind)
    for stepped, of_model in ((model, optimizer), (twin, resumed), (control, not_restored)):
        step(stepped, of_model, 1)
    values = list(zip(model.parameters(), twin.parameters(), control.parameters(), strict=True))
    assert all(torch.equal(original, restored) for original, restored, _ in values)
    assert not all(torch.equal(original, other) for original, _, other in values)


def test_both_optimizers_use_the_rates_of_the_groups(model):
    optimizer = optimizer_of(model, kind="muon")
    before = [parameter.clone() for parameter in model.parameters()]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    step(model, optimizer, 0)
    assert isinstance(optimizer, MuonAndAdamW)
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


def test_a_muon_stage_without_hidden_matrices_uses_adamw_and_is_detected(model):
    names = [name for name, _ in model.named_parameters()]
    parts = PARTS | {name: PartConfig(lr=None) for name in ("encoder", "projector", "language_model")}
    assert isinstance(optimizer_of(model, parts=parts, kind="muon"), torch.optim.AdamW)
    for kind, of_stage, expected in [("muon", parts, True), ("muon", PARTS, False), ("adamw", parts, False)]:
        rates = learning_rates(names, of_stage)
        assert is_without_effect(model, rates, OptimizerConfig(kind=kind)) is expected


def test_a_closure_is_called_once(model):
    called = []
    assert optimizer_of(model, kind="muon").step(lambda: called.append(1) or 7.0) == 7.0
    assert called == [1]
