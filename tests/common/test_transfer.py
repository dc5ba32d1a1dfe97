import numpy as np
import torch

from audio_lm.common.transfer import is_on_host, to_device


def test_an_array_keeps_its_values_and_dtype():
    array = np.array([3, 1, 2], dtype=np.int32)
    moved = to_device(array, torch.device("cpu"))
    assert (moved.tolist(), moved.dtype) == ([3, 1, 2], torch.int32)
    assert to_device(array, torch.device("meta")).shape == (3,)


def test_only_values_of_the_cpu_can_be_read_at_once():
    assert is_on_host(torch.zeros(()))
    assert not is_on_host(torch.zeros((), device="meta"))
