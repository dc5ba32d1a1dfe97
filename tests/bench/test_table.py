from dataclasses import replace

import pytest

from audio_lm.bench import table
from audio_lm.bench.table import bench_log_mel, bench_steps, format_figures
from tests.bench.test_step import TINY


@pytest.mark.slow
def test_the_table_has_the_ratios_that_the_project_reports(monkeypatch):
    monkeypatch.setattr(table, "VOCABULARIES", (1_000, 2_000))
    monkeypatch.setattr(table, "bench_log_mel", lambda: bench_log_mel(batches=1, rounds=1, clips=2))
    lines = []
    result = bench_steps(replace(TINY, clips=1, peer_batch=1), report=lines.append)
    assert set(result.ratios) == {
        "encoder_trained_1k",
        "llm_trained_1k",
        "encoder_trained_2k",
        "llm_trained_2k",
        "saved_bytes_encoder_trained",
        "saved_bytes_llm_trained",
        "log_mel",
    }
    assert result.ratios["encoder_trained_1k"] == result.cases["encoder_trained_1k"].ratio
    assert result.roofline_shares["llm_trained_2k"] == result.cases["llm_trained_2k"].roofline_share
    assert len(lines) == 4 * len(format_figures(next(iter(result.cases.values()))))
    assert any("vocabulary 2000" in line for line in lines)
