"""Devices of tests that run on the CPU everywhere, and with the same assertions on a GPU where there is one.

A test has the marker ``gpu_counterpart`` and these devices as parameter ``device``.
"""

import pytest
import torch

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
        ],
    ),
]


def assert_near(ours, theirs, tolerance):
    """Compare values of any devices and types: the largest difference, relative to the largest value."""
    ours, theirs = (each.detach().double().cpu() for each in (ours, theirs))
    assert ours.shape == theirs.shape
    scale = theirs.abs().max().clamp(min=1e-30)
    torch.testing.assert_close(ours / scale, theirs / scale, atol=tolerance, rtol=0)
