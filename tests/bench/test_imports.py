import pytest

from audio_lm.bench.imports import bench_import


def test_all_figures_are_measured():
    pytest.importorskip("av")
    figures = bench_import(num_rows=24, num_compressed=20)
    assert figures.wav_ms_per_row > 0
    assert figures.flac_ms_per_row > 0
    assert figures.repeated_share > 0
    assert figures.compressed_share > 0.1
