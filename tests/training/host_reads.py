"""Counters of what makes a host wait for its device, on any machine: every tensor counts as one of the device."""

import traceback
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode

ROOT = Path(__file__).parents[2]
aten = torch.ops.aten
READS = {aten._local_scalar_dense.default, aten.equal.default}
"""Operations whose result is a number of the host."""

DYNAMIC = {aten.nonzero.default, aten.masked_select.default, aten.unique_dim.default, aten._unique2.default}
"""Operations whose result has a size that only the device knows."""

METHODS = ("tolist", "numpy", "cpu", "__array__", "item", "__bool__", "__int__", "__float__", "__index__")
BUILDERS = {
    aten.empty.memory_format, aten.zeros.default, aten.ones.default, aten.full.default, aten.arange.default,
    aten.arange.start, aten.arange.start_step, aten.scalar_tensor.default, aten.lift_fresh.default,
}  # fmt: skip
"""Constructors of tensors, which a training step on a GPU has no use for on the CPU."""


KERNEL = "audio_lm/model/decoder/packed_attention.py"
"""Its operators of the CPU read the borders of documents, as kernels of a GPU do on the GPU."""


def place():
    """Innermost line of the library or of Lightning in the stack."""
    for frame in reversed(traceback.extract_stack()):
        if frame.filename.startswith(str(ROOT / "audio_lm")):
            return f"{Path(frame.filename).relative_to(ROOT)}:{frame.lineno} {frame.line}"
    frame = next(each for each in reversed(traceback.extract_stack()) if "host_reads" not in each.filename)
    return f"{frame.filename}:{frame.lineno} {frame.line}"


class HostReads(TorchDispatchMode):
    """Count reads by their line, while active."""

    def __init__(self):
        super().__init__()
        self.found, self.built, self.is_paused = Counter(), Counter(), False

    def note(self, name):
        if not self.is_paused and not (where := place()).startswith(KERNEL):
            self.found[f"{name} at {where}"] += 1

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in READS | DYNAMIC or (
            func in (aten.index.Tensor, aten.index_put_.default) and _is_mask(args[1])
        ):
            self.note(func)
        if func is aten.index_put.default and _is_mask(args[1]):
            self.note(func)
        if func in (aten._to_copy.default, aten.copy_.default) and _is_to_host(func, args, kwargs):
            self.note(func)
        if (
            func in BUILDERS
            and not self.is_paused
            and torch.device(kwargs.get("device") or "cpu").type == "cpu"
        ):
            self.built[f"{func} at {place()}"] += 1
        return func(*args, **kwargs)

    @contextmanager
    def paused(self):
        before, self.is_paused = self.is_paused, True
        try:
            yield
        finally:
            self.is_paused = before

    @contextmanager
    def active(self):
        """Count inside; also methods that read a tensor of the CPU without an operation."""
        with ExitStack() as stack:
            for name in METHODS:
                stack.enter_context(mock.patch.object(torch.Tensor, name, self._counted(name)))
            stack.enter_context(self)
            yield self

    def _counted(self, name):
        original = getattr(torch.Tensor, name)

        def method(tensor, *arguments, **options):
            self.note(name)
            with self.paused():
                return original(tensor, *arguments, **options)

        return method


def _is_mask(indices):
    return any(each is not None and each.dtype in (torch.bool, torch.uint8) for each in indices)


def _is_to_host(func, args, kwargs):
    if func is aten.copy_.default:
        return args[0].device.type == "cpu" and args[1].device.type not in ("cpu", "meta")
    target = kwargs.get("device")
    return target is not None and torch.device(target).type == "cpu" and args[0].device.type != "cpu"
