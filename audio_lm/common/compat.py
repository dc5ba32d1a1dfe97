"""Private interfaces of other libraries, in one place: what each is for, where it was seen, what would replace it.

Nothing else in the package reads a name with a leading underscore from torch, Lightning, MLflow, transformers or
OmegaConf (``tests/common/test_compat.py``). Libraries are imported when a function needs them.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

# torch


def set_group_timeout(timeout: timedelta, group: Any) -> None:
    """Set the timeout of a process group that exists.

    Seen in torch 2.11 to 2.13 (``distributed_c10d._set_pg_timeout``). Replace it by a public setter; there is none.
    """
    from torch.distributed.distributed_c10d import _set_pg_timeout

    _set_pg_timeout(timeout, group)


def new_stager(*, pin_memory: bool) -> Any:
    """Stager that copies tensors into memory that it keeps for the next checkpoint.

    Seen in torch 2.11 to 2.13 (``_state_dict_stager.StateDictStager``). Replace it by
    ``torch.distributed.checkpoint.staging.DefaultStager``, which works only once in torch 2.11 and 2.12.
    """
    from torch.distributed.checkpoint._state_dict_stager import StateDictStager

    return StateDictStager(pin_memory=pin_memory)


def foreach_add(sums: Sequence["Tensor"], values: Sequence["Tensor"]) -> None:
    """Add many tensors in place in one call.

    Seen in torch 2.11 to 2.13 (``torch._foreach_add_``, which torch's optimizers use). Replace it by a loop.
    """
    import torch

    torch._foreach_add_(list(sums), list(values))


def foreach_copy(targets: Sequence["Tensor"], sources: Sequence["Tensor"]) -> None:
    """Copy many tensors in one call.

    Seen in torch 2.11 to 2.13 (``torch._foreach_copy_``). Replace it by a loop.
    """
    import torch

    torch._foreach_copy_(list(targets), list(sources))


def foreach_norm(tensors: Sequence["Tensor"]) -> list["Tensor"]:
    """Euclidean norm of each of many tensors in one call.

    Seen in torch 2.11 to 2.13 (``torch._foreach_norm``). Replace it by ``torch.nn.utils.get_total_norm``, which sums
    in single precision.
    """
    import torch

    return list(torch._foreach_norm(list(tensors)))


def foreach_scale(tensors: Sequence["Tensor"], factor: "Tensor") -> None:
    """Multiply many tensors by a scalar of their device in place in one call.

    Seen in torch 2.11 to 2.13 (``torch._foreach_mul_``). Replace it by a loop.
    """
    import torch

    torch._foreach_mul_(list(tensors), factor)


def cpu_flash_attention() -> tuple[Any, Any]:
    """Forward and backward operator of flash attention on the CPU.

    Seen in torch 2.11 to 2.13 (``aten._scaled_dot_product_flash_attention_for_cpu``). Replace it by
    ``scaled_dot_product_attention``, which saves less for the backward pass of many short documents.
    """
    import torch

    forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return forward, torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def onednn_linear(input: "Tensor", weight: "Tensor", bias: "Tensor | None" = None) -> "Tensor":
    """Linear layer by oneDNN, without a gradient; the weight may be a transposed view.

    Seen in torch 2.11 to 2.13 (``torch.ops.mkldnn._linear_pointwise``, to which compiled models are lowered). Replace it
    by ``torch.nn.functional.linear``, which uses MKL in 32 bits.
    """
    import torch

    output: Tensor = torch.ops.mkldnn._linear_pointwise(input, weight, bias, "none", [], "")
    return output


def muon_rate(lr: float, adjustment: str | None, shape: Any) -> float:
    """Learning rate of Muon for a matrix of a shape.

    Seen in torch 2.11 to 2.13 (``torch.optim._muon._adjust_lr``). Replace it by the two formulas of its docstring.
    """
    from torch.optim._muon import _adjust_lr

    return float(_adjust_lr(lr, adjustment, shape))


def fsdp_group(module: Any) -> Any:
    """Group of parameters that an FSDP2 module gathers and reduces together; None where it has none.

    Seen in torch 2.11 and 2.12 (``_get_fsdp_state()._fsdp_param_group``). From torch 2.13 on
    ``set_reduce_scatter_unused_params`` replaces what it is needed for.
    """
    return module._get_fsdp_state()._fsdp_param_group


def init_fsdp_root(module: Any) -> None:
    """Make an FSDP2 module the root of those inside it, as its first forward pass would.

    Seen in torch 2.11 to 2.13 (``FSDPState._lazy_init``).
    """
    module._get_fsdp_state()._lazy_init()


def unsharded_parameter(fsdp_param: Any) -> Any:
    """Gathered parameter of a group; None before it was gathered first.

    Seen in torch 2.11 and 2.12 (``FSDPParam._unsharded_param``); see ``fsdp_group``.
    """
    return getattr(fsdp_param, "_unsharded_param", None)


def own_parameters(module: "nn.Module") -> dict[str, Any]:
    """Parameters of a module itself, to be replaced; a shared one is in several modules.

    Seen in torch 1 to 2.13 (``Module._parameters``). ``register_parameter`` replaces a value by name as well.
    """
    return module._parameters


def own_buffers(module: "nn.Module") -> dict[str, Any]:
    """Buffers of a module itself, to be replaced.

    Seen in torch 1 to 2.13 (``Module._buffers``). ``register_buffer`` replaces a value by name as well.
    """
    return module._buffers


def dispatch_mode() -> Any:
    """Base class of a context that sees every operation.

    Seen in torch 2.11 to 2.13 (``torch.utils._python_dispatch.TorchDispatchMode``, documented but not exported).
    """
    from torch.utils._python_dispatch import TorchDispatchMode

    return TorchDispatchMode


def tree_leaves(tree: Any) -> list[Any]:
    """Leaves of nested containers.

    Seen in torch 2.11 to 2.13 (``torch.utils._pytree.tree_leaves``). Replace it by ``torch.utils.pytree``.
    """
    from torch.utils._pytree import tree_leaves as leaves

    return leaves(tree)


def storage_address(tensor: "Tensor") -> int:
    """Identity of the storage of a tensor; two views of one storage have the same.

    Seen in torch 2.11 to 2.13 (``UntypedStorage._cdata``). ``data_ptr`` is another number after a free.
    """
    return int(tensor.untyped_storage()._cdata)


# Lightning


def disable_signal_handlers(trainer: Any) -> None:
    """Remove Lightning's signal handlers, and the broadcast that they cost in every step.

    Seen in Lightning 2.6 (``signal_connector.py``, ``training_epoch_loop.py``); Lightning #21406.
    """
    trainer._signal_connector.register_signal_handlers = lambda: None
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None


def skip_last_validation(trainer: Any) -> None:
    """Keep Lightning from validating because it stops.

    Seen in Lightning 2.6 (``_TrainingEpochLoop._should_check_val_fx``). Replace it by an argument of the trainer.
    """
    trainer.fit_loop.epoch_loop._should_check_val_fx = lambda _: False


def set_step(trainer: Any, step: int) -> None:
    """Set the step that Lightning counts from; its optimizers, batches and loggers each have a counter.

    Seen in Lightning 2.6 (``_batches_that_stepped`` and progress trackers). Replace it by ``fit(ckpt_path=...)``, which
    needs a checkpoint in Lightning's own format.
    """
    loop = trainer.fit_loop.epoch_loop
    optimizer_steps = loop.manual_optimization.optim_step_progress.total
    optimizer_steps.ready = optimizer_steps.completed = step
    batches = loop.batch_progress.total
    batches.ready = batches.started = batches.processed = batches.completed = step
    loop._batches_that_stepped = step


def run_validation(trainer: Any) -> None:
    """Run the validation that was due after the last step, as Lightning would have run it then.

    Seen in Lightning 2.6 (``val_loop.run`` and ``_batches_that_stepped``, the step of its curves).
    """
    loop = trainer.fit_loop.epoch_loop
    loop._batches_that_stepped -= 1
    trainer.validating = True
    loop.val_loop.run()
    trainer.training = True
    loop._batches_that_stepped += 1


# MLflow, transformers, OmegaConf


def close_database(client: Any) -> None:
    """Close the connections of an ``MlflowClient`` to an SQL store.

    Seen in MLflow 3 (``MlflowClient._tracking_client.store.engine``). There is no public way.
    """
    client._tracking_client.store.engine.dispose()


def has_attention_interface(model: Any) -> bool:
    """Check whether all attention of a transformers model goes through its registry.

    Seen in transformers 4.57 and 5 (``PreTrainedModel._can_set_attn_implementation``).
    """
    return bool(model._can_set_attn_implementation())


def inner_tables(config: Any) -> dict[str, Any]:
    """Tables directly below a table of OmegaConf, without resolving or converting values.

    Seen in OmegaConf 2.3 (``DictConfig._get_node`` and ``_is_none``); reading a value converts it, which may fail.
    """
    from omegaconf import DictConfig

    nodes = {str(name): config._get_node(name) for name in config}
    return {
        name: node for name, node in nodes.items() if isinstance(node, DictConfig) and not node._is_none()
    }
