import json
from itertools import pairwise

import pytest

from audio_lm.run.goodput import FILE, goodput_of


def test_a_run_records_the_time_of_its_phases(whole_run):
    lines = [json.loads(line) for line in (whole_run.path / FILE).read_text().splitlines()]
    firsts = [(line["stage"], line["step"]) for line in lines if line["is_first"]]
    assert firsts == [("pretrain", 0), ("chat", 0)]
    assert [line["stage"] for line in lines][-1] == "chat"
    for before, after in pairwise(lines):
        for phase, seconds in before["seconds"].items():
            assert after["seconds"][phase] >= seconds
    found = goodput_of(whole_run.path)
    passed = lines[-1]["time"] - lines[0]["time"] + sum(lines[0]["seconds"].values())
    assert found.wall == pytest.approx(passed, abs=0.5)
    assert found.kept == pytest.approx(lines[-1]["seconds"]["step"])
    assert {"start", "validation", "evaluation", "checkpoints"} <= found.lost.keys()
    assert "lost steps" not in found.lost


def test_the_goodput_is_in_the_log_of_the_run(whole_run):
    assert "goodput " in (whole_run.path / "run.log").read_text()
