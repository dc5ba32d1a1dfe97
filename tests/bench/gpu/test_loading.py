from audio_lm.bench.gpu import loading
from audio_lm.bench.gpu.parts import Task


def test_a_rehearsal_reads_some_audio_with_one_worker(tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "LONGEST_RUN", 0.1)
    monkeypatch.setattr(loading, "FEW_CLIPS", 8)
    task = Task(tmp_path / "figures", 60.0, is_rehearsal=True)
    loading.measure_loading(task)
    assert task.figures.keys() == {"workers_1_audio_s_per_s"}
    assert task.figures["workers_1_audio_s_per_s"] > 0
