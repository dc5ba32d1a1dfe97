import pytest
import torch
import torch.nn.functional as F
from torch import nn

from audio_lm.model.decoder import packed_attention as module_of
from audio_lm.model.decoder.packed_attention import packed_attention
from tests.devices import DEVICES, assert_near


def states(heads, total, generator, dtype=torch.float64):
    return torch.randn(1, heads, total, 8, generator=generator, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_outputs_and_gradients_equal_attention_of_each_document_alone(causal, groups):
    generator = torch.Generator().manual_seed(0)
    lengths = [5, 1, 9, 3]
    total = sum(lengths)
    query, key, value = (
        states(4, total, generator),
        states(groups, total, generator),
        states(groups, total, generator),
    )
    module = nn.Module()
    module.is_causal = causal
    borders = torch.tensor([0, 5, 6, 15, 18], dtype=torch.int32)
    out, _ = packed_attention(module, query, key, value, None, cu_seq_lens_q=borders, max_length_q=128)
    alone, start = [], 0
    for length in lengths:
        part = [tensor[:, :, start : start + length] for tensor in (query, key, value)]
        alone.append(F.scaled_dot_product_attention(*part, is_causal=causal, enable_gqa=True).transpose(1, 2))
        start += length
    expected = torch.cat(alone, dim=1)
    torch.testing.assert_close(out, expected)
    weight = torch.randn(out.shape, generator=generator, dtype=out.dtype)
    ours = torch.autograd.grad((out * weight).sum(), (query, key, value))
    theirs = torch.autograd.grad((expected * weight).sum(), (query, key, value))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cu_seq_lens_q": None}, "documents would see each other"),
        ({"attention_mask": torch.ones(1)}, "attention_mask"),
        ({"dropout": 0.1}, "dropout"),
        ({"sliding_window": 2}, "sliding_window"),
        ({"cu_seq_lens_q": torch.tensor([0, 3], dtype=torch.int32)}, "add the border of the padding"),
    ],
)
def test_unsupported_arguments_are_refused(change, words):
    query = torch.randn(1, 2, 4, 8)
    arguments = {
        "attention_mask": None,
        "cu_seq_lens_q": torch.tensor([0, 4], dtype=torch.int32),
        "max_length_q": 128,
    }
    with pytest.raises(ValueError, match=words):
        packed_attention(nn.Module(), query, query, query, **(arguments | change))


def test_16_bit_inputs_are_computed_in_32_bits_and_rounded_once():
    torch.manual_seed(0)
    layer = nn.Module()
    layer.is_causal = True
    states = [torch.randn(1, 2, 50, 16) for _ in range(3)]
    narrow = [tensor.bfloat16() for tensor in states]
    borders = {"cu_seq_lens_q": torch.tensor([0, 20, 50], dtype=torch.int32), "max_length_q": 128}
    exact, _ = packed_attention(layer, *(tensor.float() for tensor in narrow), None, **borders)
    rounded, _ = packed_attention(layer, *narrow, None, **borders)
    assert rounded.dtype == torch.bfloat16
    assert torch.equal(rounded, exact.bfloat16())


@pytest.mark.gpu_counterpart
@pytest.mark.parametrize("has_option", [False, True])
def test_the_kernel_of_a_gpu_gets_the_options_that_its_release_knows(has_option, monkeypatch):
    """Up to torch 2.11, ``varlen_attn`` has no ``enable_gqa``."""
    seen = {}

    def kernel(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale, window_size, **options):
        seen.update(options, window_size=window_size, max_q=max_q)
        return query

    monkeypatch.setattr(module_of, "varlen_attn", kernel)
    monkeypatch.setattr(module_of, "_GROUPED", {"enable_gqa": True} if has_option else {})
    query, key = (torch.randn(6, heads, 8, dtype=torch.bfloat16) for heads in (4, 2))
    module_of._attend_on_gpu(query, key, key, torch.tensor([0, 6], dtype=torch.int32), 128, True, 1.0)
    assert seen == {"window_size": (-1, 0), "max_q": 128} | ({"enable_gqa": True} if has_option else {})
    seen.clear()
    module_of._attend_on_gpu(query, query, query, torch.tensor([0, 6], dtype=torch.int32), 128, False, 1.0)
    assert seen == {"window_size": (-1, -1), "max_q": 128}


@pytest.mark.gpu_counterpart
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("groups", [1, 4])
def test_in_32_bits_a_gpu_attends_to_one_document_after_the_other(causal, groups):
    """The kernel of a GPU for packed documents has 16 bits only, and answers are computed in 32."""
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(18, 4, 8, generator=generator)
    key, value = (torch.randn(18, groups, 8, generator=generator) for _ in range(2))
    borders = torch.tensor([0, 5, 6, 15, 18], dtype=torch.int32)
    arguments = (query, key, value, borders, 128, causal, 0.3)
    torch.testing.assert_close(module_of._attend_on_gpu(*arguments), module_of._attend_on_cpu(*arguments))


LENGTHS = (5, 1, 129, 3, 64, 77)
TOLERANCE_OF_16_BITS = {torch.bfloat16: 2e-2, torch.float16: 3e-3}


def attended_alone(query, key, value, causal):
    """Attention of each document by itself."""
    parts = zip(*(states.split(LENGTHS, dim=2) for states in (query, key, value)), strict=True)
    alone = [F.scaled_dot_product_attention(*part, is_causal=causal, enable_gqa=True) for part in parts]
    return torch.cat(alone, dim=2).transpose(1, 2)


def attended_with_mask(query, key, value, causal):
    """Attention over all positions, with a mask that shows each document to itself alone."""
    document = torch.repeat_interleave(torch.arange(len(LENGTHS)), torch.tensor(LENGTHS))
    mask = document[:, None] == document
    mask = mask.tril() if causal else mask
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, enable_gqa=True).transpose(1, 2)


@pytest.mark.gpu_counterpart
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", TOLERANCE_OF_16_BITS)
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_16_bits_give_separate_documents_and_those_of_a_mask_forward_and_backward(
    device, dtype, causal, groups
):
    generator, total = torch.Generator().manual_seed(0), sum(LENGTHS)
    wide = [
        torch.randn(1, heads, total, 64, generator=generator).to(dtype).double()
        for heads in (4, groups, groups)
    ]
    weight = torch.randn(1, total, 4, 64, generator=generator).to(dtype).double()
    module = nn.Module()
    module.is_causal = causal
    ours = [states.to(device, dtype).requires_grad_() for states in wide]
    borders = torch.tensor([0, *torch.tensor(LENGTHS).cumsum(0)], dtype=torch.int32, device=device)
    out, _ = packed_attention(module, *ours, None, cu_seq_lens_q=borders, max_length_q=256)
    assert (out.dtype, out.device.type) == (dtype, device)
    gradients = torch.autograd.grad((out * weight.to(device, dtype)).sum(), ours)
    tolerance = TOLERANCE_OF_16_BITS[dtype]
    for attend in (attended_alone, attended_with_mask):
        exact = [states.clone().requires_grad_() for states in wide]
        expected = attend(*exact, causal)
        assert_near(out, expected, tolerance)
        for a, b in zip(gradients, torch.autograd.grad((expected * weight).sum(), exact), strict=True):
            assert_near(a, b, tolerance)
