import json
import math
import os
import stat
import sys
import time
from pathlib import Path

import pytest

from audio_lm.common.errors import ProgramError
from audio_lm.evaluation.predict import Prediction
from audio_lm.evaluation.score import score_benchmark
from audio_lm.evaluation.uncertainty import scored
from audio_lm.metrics import spice
from audio_lm.metrics.registry import find_metric
from tests.cli.command import run

ANSWERS = ["A dog barks.", "A cat (far away) meows", ""]
REFERENCES = [["a dog barks", "the dog is barking"], ["a cat meows"], ["rain falls"]]

# A stand-in for `java`: the F1 of a clip is the share of its words that are in its references.
JAVA = """#!{python}
import json, os, sys, time
log = open({log!r}, "a")
log.write(json.dumps({{"arguments": sys.argv[1:], "folder": os.getcwd()}}) + "\\n")
log.close()
memory, option, jar, given, out_option, out, silent = sys.argv[1:]
assert (memory, option, out_option, silent) == ("-Xmx8G", "-jar", "-out", "-silent"), sys.argv
assert os.path.basename(jar) == "spice-1.0.jar" and os.path.isfile(jar)
rows = json.load(open(given))
assert all(set(row) == {{"image_id", "test", "refs"}} for row in rows)
found = []
for row in rows:
    words, known = row["test"].split(), set(" ".join(row["refs"]).split())
    hits = sum(word in known for word in words)
    f = hits / len(words) if words else None
    found.append({{"image_id": row["image_id"], "scores": {{"All": {{"f": f, "tp": hits}}}}}})
{change}
json.dump(found, open(out, "w"))
"""


class Program:
    """Folder of SPICE with a stand-in of Java."""

    def __init__(self, path, monkeypatch):
        self.path, self.log = path / "spice", path / "log.jsonl"
        (self.path / "lib").mkdir(parents=True)
        (self.path / "spice-1.0.jar").write_bytes(b"jar")
        (self.path / "lib" / "stanford-corenlp-3.6.0-models.jar").write_bytes(b"jar")
        self.bin = path / "bin"
        self.bin.mkdir()
        self.write()
        monkeypatch.setenv("PATH", str(self.bin), prepend=os.pathsep)
        monkeypatch.setenv("AUDIO_LM_SPICE", str(self.path))
        monkeypatch.setattr(spice, "_f_of_clip", {})

    def write(self, change=""):
        java = self.bin / "java"
        java.write_text(JAVA.format(python=sys.executable, log=str(self.log), change=change))
        java.chmod(java.stat().st_mode | stat.S_IXUSR)

    @property
    def calls(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []


@pytest.fixture
def program(tmp_path, monkeypatch):
    return Program(tmp_path, monkeypatch)


def predictions(answers=ANSWERS):
    return [
        Prediction(id=str(number), task="aac", references=tuple(references), answer=answer, language="en")
        for number, (answer, references) in enumerate(zip(answers, REFERENCES, strict=True))
    ]


def test_the_program_gets_tokens_and_its_mean_is_the_score(program):
    scores = score_benchmark(predictions(), ["spice", "cider_d", "spider"])
    # "a cat -lrb- far away -rrb- meows" has three of seven words; the empty answer has no proposition and counts as 0.
    assert scores["spice"] == pytest.approx((1 + 3 / 7 + 0) / 3, abs=1e-12)
    assert scores["spider"] == pytest.approx((scores["spice"] + scores["cider_d"]) / 2, abs=1e-12)
    (call,) = program.calls
    assert call["folder"] == str(program.path)
    assert call["arguments"][2] == str(program.path / "spice-1.0.jar")


def test_a_clip_is_parsed_once_also_by_a_later_process(program, monkeypatch):
    first = score_benchmark(predictions(), ["spice"])
    found = scored(predictions(), "spice")
    assert found is not None
    interval = found.interval()
    assert interval is not None
    assert interval.low <= first["spice"] <= interval.high
    monkeypatch.setattr(spice, "_f_of_clip", {})  # as in another process
    assert score_benchmark(predictions(), ["spice"]) == first
    assert len(program.calls) == 1
    with (program.path / spice.KEPT).open("a") as file:
        file.write('{"clip": "half of a li')
    monkeypatch.setattr(spice, "_f_of_clip", {})
    score_benchmark(predictions(["A dog barks.", "a bird sings", ""]), ["spice"])
    assert len(program.calls) == 2, "only the new answer"


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        ("variable", "AUDIO_LM_SPICE is not set -- expected the folder of SPICE"),
        ("spice-1.0.jar", r"has no spice-1\.0\.jar -- expected"),
        ("lib/stanford-corenlp-3.6.0-models.jar", "has no lib/stanford-corenlp-.*models.jar"),
        ("java", "there is no `java` on PATH"),
    ],
)
def test_what_is_missing_is_named_and_the_other_metrics_are_computed(
    program, remove, message, monkeypatch, caplog
):
    if remove == "variable":
        monkeypatch.delenv("AUDIO_LM_SPICE")
    elif remove == "java":
        monkeypatch.setenv("PATH", str(program.path))
    else:
        (program.path / remove).unlink()
    assert score_benchmark(predictions(), ["cider_d", "spice", "spider"]).keys() == {"cider_d"}
    assert not program.calls
    with pytest.raises(ProgramError, match=message):
        find_metric("spice").build()
    assert find_metric("cider_d").why_missing() == ""
    assert scored(predictions(), "spice") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("sys.exit('Exception: out of memory')", "SPICE ended with code 1: Exception: out of memory"),
        ("os._exit(0)", "SPICE ended with code 0: no result and no message"),
        ("found.pop()", "SPICE gave results of 2 clips -- expected those of 3"),
        ("found = {'error': 1}", r"SPICE wrote '\{\"error\": 1\}' -- expected image_id"),
        ("found[2]['scores']['All']['tp'] = 2", r"\(ValueError\)"),
    ],
)
def test_a_program_that_fails_is_one_sentence_and_nothing_is_kept(program, change, message):
    program.write(change)
    with pytest.raises(ProgramError, match=message):
        find_metric("spice").build().value([[["a"], ["a"]], [["b"], ["c"]], [[], ["d"]]])
    assert not (program.path / spice.KEPT).exists()
    assert score_benchmark(predictions(), ["spice", "cider_d"]).keys() == {"cider_d"}


def test_a_program_that_hangs_is_killed_with_its_children(program, monkeypatch):
    pid = program.path / "pid"
    program.write(
        "import subprocess; child = subprocess.Popen(['sleep', '77']); "
        f"open({str(pid)!r}, 'w').write(str(child.pid)); child.wait()"
    )
    monkeypatch.setattr(spice, "START_SECONDS", 1.0)
    monkeypatch.setattr(spice, "CAPTION_SECONDS", 0.0)
    started = time.monotonic()
    with pytest.raises(ProgramError, match=r"SPICE did not end in 1 s .* the answers are kept"):
        spice.f_scores([[["a"], ["a"]]])
    assert time.monotonic() - started < 5
    state = Path(f"/proc/{pid.read_text()}/stat")
    while state.exists() and state.read_text().split()[2] != "Z":
        assert time.monotonic() - started < 10, "the child of the program still runs"
        time.sleep(0.05)


def test_a_mean_over_no_clips_is_refused(program):
    metric = find_metric("spice").build()
    assert metric.each([]) == []
    assert not math.isnan(metric.value([[["a"], ["a"]]]))


def test_the_command_names_the_missing_program_and_prints_the_other_numbers(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("AUDIO_LM_SPICE", raising=False)
    file = tmp_path / "answers.jsonl"
    rows = [{"id": str(n), "task": "aac", "references": ["a dog barks"], "answer": "a dog"} for n in range(2)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run("score", file, "--metrics", "rouge_l,spice") == 0
    printed = capsys.readouterr().out
    assert "ROUGE-L" in printed
    assert "spice is not computed: AUDIO_LM_SPICE is not set" in printed
    assert run("score", file, "--metrics", "spice") == 2
    assert "spice is not computed: AUDIO_LM_SPICE is not set" in capsys.readouterr().err
