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


def test_fixtures_that_lack_a_package_cost_the_tests_of_their_folder_only(tmp_path):
    task, call = outcome(tmp_path / "a", TEXT)
    (tmp_path / "a" / "lacks").mkdir()
    (tmp_path / "a" / "lacks" / "conftest.py").write_text("import no_such_module")
    (tmp_path / "a" / "lacks" / "test_two.py").write_text(TEXT)
    call()
    assert (task.figures["passed"], task.figures["exit_code"]) == (1, 0)
    assert task.figures["not_run"] == [str(tmp_path / "a" / "lacks")]


def test_the_markers_are_declared(pytestconfig):
    declared = {line.partition(":")[0] for line in pytestconfig.getini("markers")}
    assert declared >= {*MARKERS}
