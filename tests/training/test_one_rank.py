"""Every sharding strategy with one rank, so that one GPU runs the collectives of NCCL: it trains as without a strategy."""

import os
import socket
from functools import partial

import pytest
import torch
from lightning import Trainer
from torch import distributed
from torch.distributed.fsdp import fully_shard
from torch.utils.data import DataLoader

from audio_lm.model.weights.shards import full_tensor
from audio_lm.run.process_groups import BACKEND
from audio_lm.training import fsdp
from audio_lm.training.config import OptimizerConfig, PartConfig
from audio_lm.training.distributed import FSDP2Strategy, TokenSumDDPStrategy
from audio_lm.training.fsdp import REPLICATE, SHARD, materialise, new_mesh, shard
from audio_lm.training.next_token import NextTokenModule
from audio_lm.training.param_groups import learning_rates
from audio_lm.training.schedules import rate_factor
from tests.devices import DEVICES, assert_near
from tests.training.tiny import PACKS, tiny

PARTS = {name: PartConfig(lr=1e-3) for name in ("projector", "new_tokens", "language_model")} | {
    "encoder": PartConfig(lr=None)
}
ACCELERATOR = {"cpu": "cpu", "cuda": "gpu"}
STEPS = 3


@pytest.fixture
def _one_rank(device, monkeypatch):
    """Process group of this process alone, with the backends of a run."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names = {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    for name, value in names.items():
        monkeypatch.setitem(os.environ, name, value)
    distributed.init_process_group(BACKEND[ACCELERATOR[device]], rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def module_of(model):
    return NextTokenModule(
        model,
        rate_of=learning_rates([name for name, _ in model.named_parameters()], PARTS),
        factor=partial(rate_factor, kind="constant", steps=10, warmup_steps=0, floor=0.0),
        optimizer=OptimizerConfig(clip=1.0),
        log_every=1,
    )


def train(device, model, strategy, *, precision="32-true"):
    """Loss of the last step, and the trained weights."""
    trainer = Trainer(
        accelerator=ACCELERATOR[device],
        devices=1,
        strategy=strategy,
        precision=precision,
        max_steps=STEPS,
        max_epochs=-1,
        logger=False,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = module_of(model)
    # Gradients are accumulated over two packs.
    trainer.fit(
        module, DataLoader([tuple(PACKS[:2]), tuple(PACKS[2:])] * STEPS, batch_size=None, shuffle=False)
    )
    weights = {name: full_tensor(value.detach()).cpu() for name, value in model.named_parameters()}
    return float(trainer.callback_metrics["train_loss/all"]), weights


def sharded(device, monkeypatch, *, hybrid=False, **settings):
    """Model sharded over this rank, and its strategy."""
    mesh = new_mesh(device, num_groups=1, num_ranks=1)
    if hybrid:  # two dimensions of one rank each, which a run has with several nodes only
        both = mesh[REPLICATE, SHARD]
        monkeypatch.setattr(
            fsdp, "fully_shard", lambda module, **options: fully_shard(module, **{**options, "mesh": both})
        )
    model = tiny("all")
    trained = [
        name for name, rate in learning_rates([n for n, _ in model.named_parameters()], PARTS).items() if rate
    ]
    shard(model, mesh, trained=trained, **settings)
    offload = settings.get("cpu_offload", False)
    materialise(model, torch.device(device), cpu_offload=offload)
    return model, FSDP2Strategy(mesh, cpu_offload=offload)


@pytest.mark.gpu_counterpart
@pytest.mark.usefixtures("_one_rank")
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", ["ddp", "fsdp", "hsdp", "frozen sharded", "offload"])
def test_each_strategy_trains_as_one_process_without_it(device, kind, monkeypatch):
    is_half = device == "cuda"  # packed attention of a GPU is fast in 16 bits only
    precision = "bf16-mixed" if is_half else "32-true"
    expected, weights = train(device, tiny("all"), "auto", precision=precision)
    if kind == "ddp":
        model, strategy = tiny("all"), TokenSumDDPStrategy()
    else:
        settings = {
            "fsdp": {},
            "hsdp": {"hybrid": True},
            "frozen sharded": {"shard_frozen": True},
            "offload": {"cpu_offload": True},
        }[kind]
        model, strategy = sharded(device, monkeypatch, is_half=is_half, **settings)
        assert any(hasattr(value, "to_local") for value in model.parameters())
    loss, trained = train(device, model, strategy, precision=precision)
    assert loss == pytest.approx(expected, rel=2e-2 if is_half else 1e-6)
    for name, value in trained.items():
        assert_near(value, weights[name], 5e-2 if is_half else 1e-5)


@pytest.mark.gpu_counterpart
@pytest.mark.usefixtures("_one_rank")
@pytest.mark.parametrize("device", DEVICES)
def test_mixed_precision_keeps_weights_and_gradients_in_32_bits(device, monkeypatch):
    model, _ = sharded(device, monkeypatch, is_half=True)
    seen = []
    model.language_model.model.layers[0].mlp.register_forward_hook(
        lambda module, inputs, output: seen.append((output.dtype, module.up_proj.weight.dtype))
    )
    pack = PACKS[0].to(device)
    with torch.autocast(device, torch.bfloat16):
        model.loss(pack).total.backward()
    assert seen == [(torch.bfloat16, torch.bfloat16)]
    trained = {name: value for name, value in model.named_parameters() if value.grad is not None}
    assert any(name.startswith("language_model.") for name in trained)
    assert {value.dtype for value in trained.values()} == {torch.float32}
    assert {value.grad.dtype for value in trained.values()} == {torch.float32}
