from pathlib import Path

import pytest
import torch

from audio_lm.bench import checkpoint


def test_every_figure_is_measured_and_memory_falls_with_the_ranks(monkeypatch, tmp_path):
    monkeypatch.setattr(checkpoint, "WIDTH", 64)
    monkeypatch.setattr(checkpoint, "NUM_LAYERS", 3)
    monkeypatch.setattr(checkpoint, "START", "fork")  # faster: modules are already imported
    figures = checkpoint.bench_checkpoint(tmp_path)
    values = 3 * (64 * 64 + 64)
    assert figures.megabytes == pytest.approx(values * 3 * 4 / 1e6, rel=0.4)  # with headers
    assert figures.asynchronous_s > 0
    assert figures.blocked_share == figures.asynchronous_s / figures.synchronous_s
    assert figures.share_of_training == figures.synchronous_s / 300
    assert figures.trained_bytes_1 == pytest.approx(values * 4 * 4, rel=0.01)
    assert figures.trained_bytes_2 == pytest.approx(figures.trained_bytes_1 / 2, rel=0.01)
    assert figures.trained_bytes_4 == pytest.approx(figures.trained_bytes_1 / 4, rel=0.01)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_is_not_timed():
    tensors = {"a": torch.zeros(3)}
    with pytest.raises(RuntimeError, match="NOT saved"):
        checkpoint._time_saves(Path("/proc/nope"), tensors, is_asynchronous=False)
