"""Packed attention: self-attention within each of several concatenated documents.

It is registered under a name in ``transformers``, so that unmodified layers of any architecture use it. A GPU runs
torch's variable-length flash kernel, a CPU runs one flash call per document. There is no mask: a missing
``cu_seq_lens`` is an error, so documents can never attend to each other by accident.

Shapes: T positions of all documents, B documents, H heads, G key-value heads, C head width.
"""

import inspect
import itertools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface

from audio_lm.common import compat

PACKED = "packed"
"""Value of ``attn_implementation``."""

UNSUPPORTED = ("softcap", "s_aux", "position_bias")
"""Arguments of some architectures that change the result and that the kernels do not support."""

# torch 2.11 has no such argument: there, the kernel accepts fewer heads of keys than of queries anyway.
_GROUPED: dict[str, Any] = (
    {"enable_gqa": True} if "enable_gqa" in inspect.signature(varlen_attn).parameters else {}
)
_flash, _flash_backward = compat.cpu_flash_attention()


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    is_causal: bool | None = None,
    sliding_window: int | None = None,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attend within documents; the interface is that of ``transformers``.

    Args:
        query: (1, H, T, C); key and value are (1, G, T, C) with G dividing H.
        cu_seq_lens_q: (B+1,) int32 borders of the documents; the first is 0, the last is T.
        max_length_q: length of the longest document, or more.

    Returns:
        (1, T, H, C) and None for the attention weights.

    Raises:
        ValueError: borders are missing, or the layer needs a feature that the kernels do not support.
    """
    if cu_seq_lens_q is None or max_length_q is None:
        raise ValueError(
            "packed attention got no cu_seq_lens_q or max_length_q -- without them documents would see each other -- "
            "pass both to the model's forward"
        )
    unsupported = [name for name in UNSUPPORTED if others.get(name) is not None]
    for name, is_used in (  # not `[name] * is_used`: torch 2.11 cannot compile that
        ("attention_mask", attention_mask is not None),
        ("dropout", dropout > 0),
        ("sliding_window", sliding_window is not None and sliding_window < max_length_q),
    ):
        if is_used:
            unsupported.append(name)
    if unsupported or query.shape[0] != 1:
        raise ValueError(
            f"{type(module).__name__} calls packed attention with {unsupported or f'{query.shape[0]} rows'} -- it supports "
            f"one row of whole documents -- disable that in the language model's settings"
        )
    causal = bool(getattr(module, "is_causal", True)) if is_causal is None else is_causal
    # Under autocast, rotary positions leave queries and keys in fp32; values have the intended dtype.
    query_THC, key_TGC, value_TGC = (
        states[0].transpose(0, 1).to(value.dtype) for states in (query, key, value)
    )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    attend = _attend_on_cpu if query.device.type == "cpu" else _attend_on_gpu
    return attend(query_THC, key_TGC, value_TGC, cu_seq_lens_q, max_length_q, causal, scale)[None], None


def _attend_on_gpu(
    query_THC: Tensor,
    key_TGC: Tensor,
    value_TGC: Tensor,
    borders: Tensor,
    max_length: int,
    causal: bool,
    scale: float,
) -> Tensor:
    if value_TGC.dtype not in (torch.bfloat16, torch.float16):
        return _attend_one_by_one(query_THC, key_TGC, value_TGC, borders, causal, scale)
    grouped = _GROUPED if query_THC.shape[1] != key_TGC.shape[1] else {}
    attended = varlen_attn(
        query_THC,
        key_TGC,
        value_TGC,
        borders,
        borders,
        max_length,
        max_length,
        scale=scale,
        window_size=(-1, 0 if causal else -1),
        **grouped,
    )
    assert isinstance(attended, Tensor), "log-sum-exp was not requested"
    return attended


@torch.compiler.disable
def _attend_one_by_one(
    query_THC: Tensor, key_TGC: Tensor, value_TGC: Tensor, borders: Tensor, causal: bool, scale: float
) -> Tensor:
    """Attend in 32 bits, which the kernel for packed documents lacks: answers of a model that is not in training.

    It reads the borders from the device, so it is slow; training computes in 16 bits.
    """
    queries_per_key = query_THC.shape[1] // key_TGC.shape[1]
    key_THC, value_THC = (states.repeat_interleave(queries_per_key, dim=1) for states in (key_TGC, value_TGC))
    attended = []
    for start, end in itertools.pairwise(borders.tolist()):
        if end > start:
            query, key, value = (_document(states, start, end) for states in (query_THC, key_THC, value_THC))
            attended.append(F.scaled_dot_product_attention(query, key, value, is_causal=causal, scale=scale))
    return torch.cat(attended, dim=2)[0].transpose(0, 1)


def _attend_on_cpu(
    query_THC: Tensor,
    key_TGC: Tensor,
    value_TGC: Tensor,
    borders: Tensor,
    max_length: int,
    causal: bool,
    scale: float,
) -> Tensor:
    if value_TGC.dtype in (torch.bfloat16, torch.float16):
        # The CPU kernel's backward pass in 16 bits takes four times as long as in 32.
        query, key, value = query_THC.float(), key_TGC.float(), value_TGC.float()
        return _attend_on_cpu(query, key, value, borders, max_length, causal, scale).to(value_TGC.dtype)
    queries_per_key = query_THC.shape[1] // key_TGC.shape[1]
    if queries_per_key > 1:
        key_TGC, value_TGC = (
            states.repeat_interleave(queries_per_key, dim=1) for states in (key_TGC, value_TGC)
        )
    return _documents(query_THC, key_TGC, value_TGC, borders, causal, scale)[0]


@torch.library.custom_op("audio_lm::documents", mutates_args=())
def _documents(
    query: Tensor, key: Tensor, value: Tensor, borders: Tensor, causal: bool, scale: float
) -> tuple[Tensor, Tensor]:
    """One flash call per document: (T, H, C) outputs, and (T, H) log-sum-exp for the backward pass."""
    offsets = borders.tolist()
    if offsets[-1] != query.shape[0]:
        raise ValueError(
            f"documents end at {offsets[-1]} of {query.shape[0]} positions; add the border of the padding, which is a document "
            f"too"
        )
    out = query.new_empty(query.shape)
    lse = query.new_empty(
        query.shape[:2], dtype=torch.float64 if query.dtype == torch.float64 else torch.float32
    )
    for start, end in itertools.pairwise(offsets):
        if end > start:
            states = (_document(tensor, start, end) for tensor in (query, key, value))
            document_out, document_lse = _flash(*states, 0.0, causal, attn_mask=None, scale=scale)
            out[start:end] = document_out[0].transpose(0, 1)
            lse[start:end] = document_lse[0].transpose(0, 1)
    return out, lse


@_documents.register_fake
def _(
    query: Tensor, key: Tensor, value: Tensor, borders: Tensor, causal: bool, scale: float
) -> tuple[Tensor, Tensor]:
    return query.new_empty(query.shape), query.new_empty(query.shape[:2], dtype=torch.float32)


@torch.library.custom_op("audio_lm::documents_backward", mutates_args=())
def _documents_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    lse: Tensor,
    borders: Tensor,
    causal: bool,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    offsets = borders.tolist()
    grads = tuple(tensor.new_empty(tensor.shape) for tensor in (query, key, value))
    for start, end in itertools.pairwise(offsets):
        if end > start:
            states = (_document(tensor, start, end) for tensor in (grad, query, key, value, out))
            document_grads = _flash_backward(
                *states, lse[start:end].transpose(0, 1)[None], 0.0, causal, attn_mask=None, scale=scale
            )
            for grad_THC, document_grad in zip(grads, document_grads, strict=True):
                grad_THC[start:end] = document_grad[0].transpose(0, 1)
    return grads[0], grads[1], grads[2]


@_documents_backward.register_fake
def _(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    lse: Tensor,
    borders: Tensor,
    causal: bool,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    return query.new_empty(query.shape), key.new_empty(key.shape), value.new_empty(value.shape)


def _document(tensor_THC: Tensor, start: int, end: int) -> Tensor:
    return tensor_THC[start:end].transpose(0, 1)[None]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    query, key, value, borders, ctx.causal, ctx.scale = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(query, key, value, *output, borders)


def _backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    return (*_documents_backward(grad, *ctx.saved_tensors, ctx.causal, ctx.scale), None, None, None)


_documents.register_autograd(_backward, setup_context=_setup_context)
AttentionInterface.register(PACKED, packed_attention)
