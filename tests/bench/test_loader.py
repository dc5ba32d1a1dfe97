import pytest

from audio_lm.bench import loader


@pytest.mark.slow
def test_every_figure_is_measured_with_small_sizes(monkeypatch):
    monkeypatch.setattr(loader, "NUM_CLIPS", 60)
    monkeypatch.setattr(loader, "FEW_ROWS", 1_100)
    monkeypatch.setattr(loader, "MANY_ROWS", 1_300)
    monkeypatch.setattr(loader, "MEASURED_ROWS", 500)
    figures = loader.bench_loader()
    assert figures.schedule_cuts_per_s > 0
    assert figures.audio_s_per_cpu_s > 0
    assert 0.9 < figures.fill <= 1
    assert figures.resume_s > 0
    assert abs(figures.rss_growth) < 0.2
    assert 0 < figures.us_per_row_measured < 2_000
