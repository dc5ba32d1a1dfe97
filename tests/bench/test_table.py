from dataclasses import replace

from audio_lm.bench import table
from audio_lm.bench.table import bench_log_mel, bench_steps, lines_of
from tests.bench.test_step import TINY


def test_the_table_has_the_ratios_the_project_is_held_to(monkeypatch):
    monkeypatch.setattr(table, "VOCABULARIES", (1_000, 2_000))
    monkeypatch.setattr(table, "bench_log_mel", lambda: bench_log_mel(batches=1, rounds=1, clips=2))
    told = []
    found = bench_steps(replace(TINY, clips=1, peer_batch=1), report=told.append)
    assert set(found.ratios) == {
        "encoder_trained_1k",
        "llm_trained_1k",
        "encoder_trained_2k",
        "llm_trained_2k",
        "saved_bytes_encoder_trained",
        "saved_bytes_llm_trained",
        "log_mel",
    }
    assert found.ratios["encoder_trained_1k"] == found.cases["encoder_trained_1k"].ratio
    assert len(told) == 4 * len(lines_of(next(iter(found.cases.values()))))
    assert any("vocabulary 2000" in line for line in told)
