import pytest

from audio_lm.training import config
from audio_lm.training.config import HardwareConfig


@pytest.mark.parametrize(
    ("precision", "accelerator", "cpu_can", "expected"),
    [
        ("32", "gpu", True, False),
        ("bf16", "cpu", False, True),
        ("auto", "cpu", False, False),
        ("auto", "cpu", True, True),
        ("auto", "gpu", False, True),
    ],
)
def test_auto_is_16_bits_where_they_are_faster(monkeypatch, precision, accelerator, cpu_can, expected):
    monkeypatch.setattr(config, "multiplies_in_bf16", lambda: cpu_can)
    assert HardwareConfig(accelerator=accelerator, precision=precision).is_half is expected
