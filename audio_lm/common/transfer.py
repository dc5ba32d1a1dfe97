"""Transfers between host and device, without waiting where that is possible."""

import numpy as np
import torch
from torch import Tensor


def is_on_host(value: Tensor) -> bool:
    """True if reading the value does not wait for a device."""
    return value.device.type == "cpu"


def to_device(array: np.ndarray, device: torch.device) -> Tensor:
    """Copy an array to a device without waiting for it."""
    values = torch.from_numpy(array)
    if device.type != "cuda":
        return values.to(device)
    # A copy from memory that is not pinned waits for the work that the GPU has.
    return values.pin_memory().to(device, non_blocking=True)
