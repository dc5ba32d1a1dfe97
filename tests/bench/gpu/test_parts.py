import json

import pytest

from audio_lm.bench.gpu.parts import FOR_A_START, PARTS, Part, Task, share_of


def test_what_an_early_part_saves_is_given_to_later_ones():
    assert share_of(PARTS[-1], PARTS, 100.0) == 100.0
    weights = [part.weight for part in PARTS]
    assert share_of(PARTS[1], PARTS, 1000.0) == pytest.approx(1000 * weights[1] / sum(weights[1:]))


def test_a_part_has_time_to_start_if_there_is_any():
    assert share_of(PARTS[0], PARTS, 60.0) == FOR_A_START
    assert share_of(PARTS[0], PARTS, 10.0) == 10.0


def test_missing_modules_are_named():
    assert Part("a", "A", 1.0, ("json", "no_such_module")).missing() == ["no_such_module"]


def test_figures_are_in_the_file_as_soon_as_they_are_known(tmp_path):
    task = Task(tmp_path / "figures", 10.0)
    task.put(first=1)
    task.put(second=2)
    assert json.loads(task.file.read_text()) == {"first": 1, "second": 2}
    assert 0 < task.left <= 10


def test_a_rehearsal_never_uses_the_gpu(tmp_path):
    assert Task(tmp_path, 1.0, is_rehearsal=True, has_gpu=True).device == "cpu"
    assert Task(tmp_path, 1.0, has_gpu=True).device == "cuda"
