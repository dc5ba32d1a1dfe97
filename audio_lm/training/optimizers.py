"""The optimizers a stage can choose: AdamW, or Muon for hidden matrices with AdamW for the rest.

Each trained parameter has a peak rate of its own (``peak_lr`` in its group); vectors never decay.

Sources: AdamW, arXiv:1711.05101; Muon, arXiv:2502.16982, whose updates are as large as AdamW's, so rates carry over;
its iteration, https://github.com/KellerJordan/Muon.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import AdamW, Muon, Optimizer
from torch.optim._muon import _adjust_lr
from transformers import PreTrainedModel

from audio_lm.model.weights.part_names import is_update
from audio_lm.model.weights.shards import full_tensor, local_slice
from audio_lm.training.config import OptimizerConfig
from audio_lm.training.param_groups import Rate

Group = dict[str, Any]
MUON_MOMENTUM = 0.95


def build_optimizer(
    model: nn.Module,
    rate_of: Mapping[str, Rate | None],
    config: OptimizerConfig,
    *,
    is_half: bool = False,
) -> Optimizer:
    """The optimizer of one stage.

    Args:
        rate_of: the rate of every parameter of ``model``; none is frozen.
        is_half: Muon looks for directions in bf16, see ``newton_schulz``.
    """
    muons = hidden_matrices(model) if config.kind == "muon" else set[str]()
    groups: dict[tuple[float, bool, bool], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        rate = rate_of[name]
        if rate is not None:
            lr = rate.lr * config.matrix_factor if name in muons else rate.lr
            groups[lr, parameter.ndim >= 2, name in muons].append(parameter)
    by_kind: dict[bool, list[Group]] = {False: [], True: []}
    for (lr, decays, is_muon), parameters in groups.items():
        weight_decay = config.weight_decay if decays else 0.0
        group = {"params": parameters, "lr": lr, "peak_lr": lr, "weight_decay": weight_decay}
        by_kind[is_muon].append(group if is_muon else group | {"fused": _are_alike(parameters)})
    if not by_kind[True]:
        return AdamW(by_kind[False], lr=0.0, betas=config.betas, eps=config.eps)
    return MuonAndAdamW(by_kind[True], by_kind[False], betas=config.betas, eps=config.eps, is_half=is_half)


def is_without_effect(model: nn.Module, rate_of: Mapping[str, Rate | None], config: OptimizerConfig) -> bool:
    """Whether a stage has chosen Muon and trains nothing that Muon would move."""
    return config.kind == "muon" and not any(rate_of[name] for name in hidden_matrices(model))


def hidden_matrices(model: nn.Module) -> set[str]:
    """Names of the weights of linear layers, except those that share or make a vocabulary's rows, and low-rank updates.

    Muon gives all directions of a matrix steps of one size. Of an update it is the product of two factors that
    changes the model, not either factor, and one of them starts at zero: AdamW, for which LoRA's rates are known.
    """
    rows = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            rows |= {id(parameter) for parameter in _parameters_of(module.get_output_embeddings())}
    linear = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear)} - rows
    named = model.named_parameters()
    return {name for name, parameter in named if id(parameter) in linear and not is_update(name)}


def _are_alike(parameters: Sequence[nn.Parameter]) -> bool:
    """Whether one kernel takes them all: none is shared out, or all are over the same ranks."""
    return len({getattr(parameter, "device_mesh", None) for parameter in parameters}) == 1


def _parameters_of(module: nn.Module | None) -> list[nn.Parameter]:
    return [] if module is None else list(module.parameters())


def newton_schulz(
    matrix: Tensor, dtype: torch.dtype, *, coefficients: tuple[float, float, float], steps: int, eps: float
) -> Tensor:
    """The matrix with all singular values near 1, found in a precision of choice.

    Torch's function always works in bf16, whose roundings turn a difference of 1e-7 between two sums of the same
    gradients into one of half a per cent of the step; in 32 bits it stays at 1e-6.

    Source: the quintic iteration of Newton and Schulz, https://github.com/KellerJordan/Muon.
    """
    a, b, c = coefficients
    is_tall = matrix.size(0) > matrix.size(1)
    wide = (matrix.T if is_tall else matrix).to(dtype)
    wide = wide / wide.norm().clamp(min=eps)
    for _ in range(steps):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return wide.T if is_tall else wide


class DistributedMuon(Muon):
    """Muon of torch, also for matrices that are shared out over ranks, and in 32 bits too.

    The directions of a matrix are those of the whole, so it is gathered, one at a time, and every rank keeps its
    slice of the step; momentum stays shared out.

    Args:
        is_half: directions are looked for in bf16.
    """

    def __init__(self, params: Sequence[Group], *, is_half: bool, **settings: Any) -> None:
        super().__init__(params, **settings)
        self.dtype = torch.bfloat16 if is_half else torch.float32

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; a closure is called once."""
        with torch.enable_grad():
            loss = closure() if closure else None
        for group in self.param_groups:
            with_gradient, gradients, momenta = list[Any](), list[Any](), list[Any]()
            self._init_group(group, with_gradient, gradients, momenta)
            for parameter, gradient, momentum in zip(with_gradient, gradients, momenta, strict=True):
                momentum.lerp_(gradient, 1 - group["momentum"])
                update = gradient.lerp(momentum, group["momentum"]) if group["nesterov"] else momentum
                whole = newton_schulz(
                    full_tensor(update),
                    self.dtype,
                    coefficients=group["ns_coefficients"],
                    steps=group["ns_steps"],
                    eps=group["eps"],
                )
                lr = _adjust_lr(group["lr"], group["adjust_lr_fn"], parameter.shape)
                local = parameter.to_local() if isinstance(parameter, DTensor) else parameter
                local.mul_(1 - group["lr"] * group["weight_decay"])
                local.add_(local_slice(whole, parameter), alpha=-lr)
        return loss


class MuonAndAdamW(Optimizer):
    """Two optimizers of torch that step, save and load as one.

    Args:
        matrices: groups for Muon; two-dimensional parameters only.
        others: groups for AdamW.
        is_half: Muon looks for directions in bf16.
    """

    def __init__(
        self,
        matrices: Sequence[Group],
        others: Sequence[Group],
        *,
        betas: tuple[float, float],
        eps: float,
        is_half: bool = False,
    ) -> None:
        self.muon = DistributedMuon(
            matrices, is_half=is_half, lr=0.0, momentum=MUON_MOMENTUM, adjust_lr_fn="match_rms_adamw"
        )
        self.adamw = AdamW(others, lr=0.0, betas=betas, eps=eps) if others else None
        self.num_muon = len(self.muon.param_groups)
        adamw_groups = self.adamw.param_groups if self.adamw else []
        super().__init__([*self.muon.param_groups, *adamw_groups], {})
        self._share()

    def _share(self) -> None:
        """Both work on the groups and the state that stand here."""
        self.muon.param_groups, self.muon.state = self.param_groups[: self.num_muon], self.state
        if self.adamw:
            self.adamw.param_groups, self.adamw.state = self.param_groups[self.num_muon :], self.state

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of both; a closure is called once."""
        with torch.enable_grad():
            loss = closure() if closure else None
        self.muon.step()
        if self.adamw:
            self.adamw.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._share()
