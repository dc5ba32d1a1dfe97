import pytest

from audio_lm.bench.gpu.parts import Task
from audio_lm.bench.gpu.tests import MARKERS, FailedTests, run_tests

TEXT = """import pytest

@pytest.mark.gpu_counterpart
def test_right():
    pass

@pytest.mark.gpu
@pytest.mark.skipif(True, reason="no CUDA device")
def test_skipped():
    pass

def test_without_a_marker():
    raise AssertionError
"""


def outcome(folder, text):
    folder.mkdir()
    (folder / "test_one.py").write_text(text)
    (folder / "test_other.py").write_text("raise RuntimeError('not collected')")
    task = Task(folder / "figures", 60.0)
    return task, lambda: run_tests(task, folder)


def test_only_marked_tests_are_run_and_counted(tmp_path):
    task, call = outcome(tmp_path / "a", TEXT)
    call()
    assert task.figures == {"files": 1, "passed": 1, "skipped": 1, "failed": [], "exit_code": 0}


def test_a_test_that_fails_is_named(tmp_path):
    task, call = outcome(tmp_path / "a", TEXT.replace("    pass", "    assert 0", 1))
    with pytest.raises(FailedTests, match="1 tests failed"):
        call()
    assert [name.partition("::")[2] for name in task.figures["failed"]] == ["test_right"]


def test_no_marked_test_is_no_failure(tmp_path):
    task, call = outcome(tmp_path / "a", "")
    call()
    assert "gpu_counterpart" in task.figures["note"]


def test_the_markers_are_declared(pytestconfig):
    declared = {line.partition(":")[0] for line in pytestconfig.getini("markers")}
    assert declared >= {*MARKERS}
