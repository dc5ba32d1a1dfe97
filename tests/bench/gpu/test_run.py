import json

import pytest

from audio_lm.bench.gpu import run
from audio_lm.bench.gpu.parts import PARTS, Part
from audio_lm.bench.gpu.run import bench_gpu

SCRIPT = """
import json, pathlib, sys, time
name, file, seconds, *flags = sys.argv[1:]
new = pathlib.Path(file + ".new")
new.write_text(json.dumps({"flags": flags, "passed": 1, "skipped": 0, "failed": [], "files": 1}))
new.replace(file)
if name == "hangs":
    time.sleep(60)
sys.exit(3 if name == "fails" else 0)
"""


@pytest.fixture
def measure(tmp_path, monkeypatch):
    (tmp_path / "child.py").write_text(SCRIPT)
    monkeypatch.setattr(run, "CHILD", (str(tmp_path / "child.py"),))
    monkeypatch.setattr(run, "POLL", 0.02)
    lines = []

    def measured(parts, *, seconds=60.0, is_rehearsal=True):
        monkeypatch.setattr(run, "PARTS", parts)
        found = bench_gpu(
            tmp_path / "out", minutes=seconds / 60, is_rehearsal=is_rehearsal, report=lines.append
        )
        return found, json.loads((tmp_path / "out" / "gpu.json").read_text()), lines

    return measured


def test_a_part_that_fails_or_hangs_costs_only_its_own_time(measure, monkeypatch, tmp_path):
    monkeypatch.setattr(run, "SHORTEST", 0.0)
    monkeypatch.setattr(run, "share_of", lambda part, parts, seconds: 1.0 if part.name == "hangs" else 30.0)
    names = ("fails", "hangs", "works", "lacks")
    parts = [Part(name, name, 1.0, ("no_such_module",) if name == "lacks" else ()) for name in names]
    results, content, lines = measure(parts)
    states = {part["name"]: part["status"] for part in content["parts"]}
    assert states == {"fails": "failed", "hangs": "out of time", "works": "done", "lacks": "skipped"}
    assert all(content["parts"][number]["figures"]["flags"] == ["--rehearse"] for number in (0, 2))
    assert "no_such_module" in content["parts"][3]["why"]
    assert results.has_failures
    assert len(lines) == len(parts)
    page = (tmp_path / "out" / "gpu.md").read_text()
    assert "Rehearsal" in page
    assert "no_such_module" in page
    assert (tmp_path / "out" / "gpu.log").read_text().count("== ") == 3


def test_without_time_nothing_is_started(measure):
    results, content, _ = measure([Part("works", "works", 1.0)], seconds=1.0)
    assert content["parts"][0]["status"] == "not started"
    assert not results.has_failures


def test_without_a_gpu_only_the_tests_are_run_and_a_sentence_says_so(measure, monkeypatch):
    monkeypatch.setattr(run.torch.cuda, "is_available", lambda: False)
    results, content, lines = measure(
        [part if part.name == "tests" else Part("fails", "fails", 1.0) for part in PARTS[:3]],
        is_rehearsal=False,
    )
    assert [part["status"] for part in content["parts"]] == ["done"]
    assert "no CUDA device" in lines[0]
    assert not content["has_gpu"]
    assert not results.has_failures
