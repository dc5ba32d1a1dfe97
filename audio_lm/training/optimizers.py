"""Optimizers of a stage: AdamW, or Muon for hidden matrices and AdamW for the rest.

Parameters are grouped by peak learning rate (``peak_lr`` of the group). Vectors have no weight decay.

Source: AdamW, arXiv:1711.05101; Muon, arXiv:2502.16982, scaled to the RMS of AdamW's updates, so that learning
rates carry over; its iteration, https://github.com/KellerJordan/Muon.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import AdamW, Muon, Optimizer
from transformers import PreTrainedModel

from audio_lm.common import compat
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
    """Build the optimizer of a stage.

    Args:
        rate_of: rate of every parameter of ``model``; None for a frozen one.
        is_half: Muon's Newton-Schulz iteration runs in bf16, see ``newton_schulz``.
    """
    matrices = hidden_matrices(model) if config.kind == "muon" else set[str]()
    groups: dict[tuple[float, bool, bool, Any], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        rate = rate_of[name]
        if rate is not None:
            lr = rate.lr * config.matrix_factor if name in matrices else rate.lr
            # The fused kernel needs parameters that are all plain, or all sharded over the same mesh.
            mesh = getattr(parameter, "device_mesh", None)
            groups[lr, parameter.ndim >= 2, name in matrices, mesh].append(parameter)
    muon_groups: list[Group] = []
    adamw_groups: list[Group] = []
    for (lr, decays, is_muon, _), parameters in groups.items():
        weight_decay = config.weight_decay if decays else 0.0
        group = {"params": parameters, "lr": lr, "peak_lr": lr, "weight_decay": weight_decay}
        if is_muon:
            muon_groups.append(group)
        else:
            adamw_groups.append(group | {"fused": True})
    if not muon_groups:
        return AdamW(adamw_groups, lr=0.0, betas=config.betas, eps=config.eps)
    return MuonAndAdamW(muon_groups, adamw_groups, betas=config.betas, eps=config.eps, is_half=is_half)


def skip_next_step_if(condition: Tensor, optimizer: Optimizer) -> None:
    """Make the next step of an optimizer of ``build_optimizer`` change nothing if a scalar of the device is true.

    The condition is not read: the kernels of the step do. The attribute is the one that ``torch.amp.GradScaler`` sets.
    """
    optimizer.found_inf = condition.float()  # type: ignore[attr-defined]


def is_without_effect(model: nn.Module, rate_of: Mapping[str, Rate | None], config: OptimizerConfig) -> bool:
    """Check whether ``kind: muon`` has no effect: the stage trains no matrix that Muon would update."""
    return config.kind == "muon" and not any(rate_of[name] for name in hidden_matrices(model))


def hidden_matrices(model: nn.Module) -> set[str]:
    """Names of the weights of linear layers, except output layers, tied embeddings and LoRA updates.

    Muon makes all singular values of an update nearly equal. For LoRA the product of its two factors changes the model,
    not either factor, and one factor starts at zero; its learning rates are known for AdamW.
    """
    excluded = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            excluded |= {id(parameter) for parameter in _parameters_of(module.get_output_embeddings())}
    linear = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear)}
    linear -= excluded
    named = model.named_parameters()
    return {name for name, parameter in named if id(parameter) in linear and not is_update(name)}


def _parameters_of(module: nn.Module | None) -> list[nn.Parameter]:
    return [] if module is None else list(module.parameters())


def newton_schulz(
    matrix: Tensor, dtype: torch.dtype, *, coefficients: tuple[float, float, float], steps: int, eps: float
) -> Tensor:
    """Orthogonalise a matrix: bring all singular values near 1, by an iteration in ``dtype``.

    Torch's function always runs in bf16, where a difference of 1e-7 between two sums of the same gradients grows to
    0.5 % of the update; in float32 it stays at 1e-6.

    Source: the quintic Newton-Schulz iteration, https://github.com/KellerJordan/Muon.
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
    """Torch's Muon for sharded and plain matrices, in bf16 or float32.

    The update depends on the full matrix: it is gathered, one matrix at a time, and every rank applies its slice.
    The momentum stays sharded.

    Args:
        is_half: the Newton-Schulz iteration runs in bf16.
    """

    def __init__(self, params: Sequence[Group], *, is_half: bool, **settings: Any) -> None:
        super().__init__(params, **settings)
        self.dtype = torch.bfloat16 if is_half else torch.float32

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step; a closure is called once."""
        with torch.enable_grad():
            loss = closure() if closure else None
        is_skipped: Tensor | None = getattr(self, "found_inf", None)
        for group in self.param_groups:
            parameters, gradients, momenta = list[Any](), list[Any](), list[Any]()
            self._init_group(group, parameters, gradients, momenta)
            for parameter, gradient, momentum in zip(parameters, gradients, momenta, strict=True):
                decay: Any = 1 - group["lr"] * group["weight_decay"]
                if is_skipped is not None:
                    # Between equal values an interpolation changes nothing, and an update of zero neither.
                    gradient = _choose(is_skipped, momentum, gradient)
                    decay = torch.where(is_skipped.to(gradient.device) > 0, 1.0, decay)
                momentum.lerp_(gradient, 1 - group["momentum"])
                update = gradient.lerp(momentum, group["momentum"]) if group["nesterov"] else momentum
                direction = newton_schulz(
                    full_tensor(update),
                    self.dtype,
                    coefficients=group["ns_coefficients"],
                    steps=group["ns_steps"],
                    eps=group["eps"],
                )
                lr = compat.muon_rate(group["lr"], group["adjust_lr_fn"], parameter.shape)
                local = parameter.to_local() if isinstance(parameter, DTensor) else parameter
                update = local_slice(direction, parameter)
                if is_skipped is not None:
                    update = _choose(is_skipped, torch.zeros_like(update), update)
                local.mul_(decay)
                local.add_(update, alpha=-lr)
        return loss


def _choose(is_skipped: Tensor, if_skipped: Tensor, otherwise: Tensor) -> Tensor:
    """One of two tensors, both plain or both sharded, by the value of a scalar of the device."""
    first, second = (
        each.to_local() if isinstance(each, DTensor) else each for each in (if_skipped, otherwise)
    )
    chosen = torch.where(is_skipped.to(second.device) > 0, first, second)
    if not isinstance(otherwise, DTensor):
        return chosen
    return DTensor.from_local(
        chosen,
        otherwise.device_mesh,
        otherwise.placements,
        run_check=False,
        shape=otherwise.shape,
        stride=otherwise.stride(),
    )


class MuonAndAdamW(Optimizer):
    """Muon and AdamW that step, save and load as one optimizer.

    Args:
        matrices: groups for Muon; two-dimensional parameters only.
        others: groups for AdamW.
        is_half: Muon's Newton-Schulz iteration runs in bf16.
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
        self._share_groups_and_state()

    def _share_groups_and_state(self) -> None:
        """Make both optimizers use the groups and the state of this one."""
        self.muon.param_groups, self.muon.state = self.param_groups[: self.num_muon], self.state
        if self.adamw:
            self.adamw.param_groups, self.adamw.state = self.param_groups[self.num_muon :], self.state

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step of both; a closure is called once."""
        with torch.enable_grad():
            loss = closure() if closure else None
        for optimizer in (self.muon, self.adamw):
            if optimizer is not None:
                optimizer.found_inf = getattr(self, "found_inf", None)  # type: ignore[union-attr]
                optimizer.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._share_groups_and_state()
