import json
from dataclasses import replace

import pytest

from audio_lm.common.files import read_table, seal, write_json
from audio_lm.evaluation.config import BenchmarkConfig
from audio_lm.evaluation.definitions import FILE, Definition, read_definitions, save_definition
from audio_lm.tasks.config import OwnTaskConfig

DIGITS = BenchmarkConfig("synthetic/digits-test", "asr", ["wer"], "tags", "pretrain", max_clips=3)
NOTES = BenchmarkConfig("synthetic/notes-test", "mna", ["pitch_acc", "wer"], "natural", "chat")


def test_saved_definitions_are_read_back(tmp_path):
    assert read_definitions(tmp_path) == {}
    save_definition(tmp_path, "digits", Definition(NOTES, {}))
    save_definition(tmp_path, "a.b/notes", Definition(NOTES, {"wer": 0.5}))
    save_definition(tmp_path, "digits", Definition(DIGITS, {}))
    assert read_definitions(tmp_path) == {
        "digits": Definition(DIGITS, {}),
        "a.b/notes": Definition(NOTES, {"wer": 0.5}),
    }


@pytest.mark.parametrize(
    "entry",
    [3, [], {}, {"prompt": None}, {"metrics": 3}, {"source": []}, {"max_clips": "x"}, {"metrics": [1]}],
)
def test_invalid_definitions_are_skipped(tmp_path, entry):
    save_definition(tmp_path, "digits", Definition(DIGITS, {}))
    table = json.loads((tmp_path / FILE).read_text())["benchmarks"]
    broken = table["digits"] | entry if entry and isinstance(entry, dict) else entry
    both = {
        "benchmarks": {**table, "broken": broken, "later": table["digits"] | {"fresh": 1, "published": 3}}
    }
    (tmp_path / FILE).write_text(json.dumps(seal(both)))
    assert read_definitions(tmp_path) == {"digits": Definition(DIGITS, {}), "later": Definition(DIGITS, {})}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"benchmarks": 3}', '{"benchmarks": {}, "crc32": 1}'])
def test_a_damaged_file_counts_as_absent(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    assert read_definitions(tmp_path) == {}


def test_a_benchmark_whose_scores_are_replaced_is_removed(tmp_path):
    for name, benchmark in (("digits", DIGITS), ("notes", NOTES), ("first", replace(DIGITS, max_clips=1))):
        save_definition(tmp_path, name, Definition(benchmark, {}))
    assert read_definitions(tmp_path).keys() == {"notes", "first"}


def test_the_definition_of_an_own_task_is_kept_and_an_invalid_one_is_skipped(tmp_path):
    own = OwnTaskConfig("dynamic", ["How loud is it?"], metric=["acc", "macro_f1"])
    save_definition(tmp_path, "loud", Definition(DIGITS, {}, own_task=own))
    assert read_definitions(tmp_path)["loud"].own_task == own
    for wrong in ({"label": "x"}, 3, {"label": ["x"], "prompt": ["y"]}, {"label": "x", "prompt": {"a": 1}}):
        table = read_table(tmp_path / FILE)
        table["benchmarks"]["loud"]["own_task"] = wrong
        write_json(tmp_path / FILE, table)
        assert read_definitions(tmp_path)["loud"] == Definition(DIGITS, {}), wrong
