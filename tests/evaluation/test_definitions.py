import json
from dataclasses import replace

import pytest

from audio_lm.common.files import read_table, seal, write_json
from audio_lm.evaluation.config import BenchmarkConfig
from audio_lm.evaluation.definitions import FILE, Definition, read_definitions, save_definition
from audio_lm.evaluation.majority import Majority
from audio_lm.tasks.config import OwnTaskConfig

DIGITS = BenchmarkConfig("synthetic/digits-test", "asr", ["wer"], "tags", "pretrain", max_clips=3)
NOTES = BenchmarkConfig("synthetic/notes-test", "mna", ["pitch_acc", "wer"], "natural", "chat")


def test_saved_definitions_are_read_back(tmp_path):
    assert read_definitions(tmp_path) == {}
    digits = Definition(DIGITS, {}, 12, Majority("one", "training data", 3, 20))
    notes = Definition(replace(NOTES, question="How high is {instrument}?"), {"wer": 0.5})
    save_definition(tmp_path, "digits", Definition(NOTES, {}))
    save_definition(tmp_path, "a.b/notes", notes)
    save_definition(tmp_path, "digits", digits)
    assert read_definitions(tmp_path) == {"digits": digits, "a.b/notes": notes}


@pytest.mark.parametrize(
    "entry",
    [
        *(3, [], {}, {"prompt": None}, {"metrics": 3}, {"source": []}, {"max_clips": "x"}, {"metrics": [1]}),
        *({"ordered_stamps": 1}, {"ordered_stamps": True, "prompt": "natural"}),
        *({"question": 3}, {"question": "Which?", "prompt": "tags"}),
    ],
)
def test_invalid_definitions_are_skipped(tmp_path, entry):
    save_definition(tmp_path, "digits", Definition(DIGITS, {}))
    table = json.loads((tmp_path / FILE).read_text())["benchmarks"]
    broken = table["digits"] | entry if entry and isinstance(entry, dict) else entry
    both = {
        "benchmarks": {
            **table,
            "broken": broken,
            "later": table["digits"] | {"fresh": 1, "published": 3, "majority": {"answer": 1}},
        }
    }
    (tmp_path / FILE).write_text(json.dumps(seal(both)))
    assert read_definitions(tmp_path) == {"digits": Definition(DIGITS, {}), "later": Definition(DIGITS, {})}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"benchmarks": 3}', '{"benchmarks": {}, "crc32": 1}'])
def test_a_damaged_file_counts_as_absent(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    assert read_definitions(tmp_path) == {}


def test_two_benchmarks_of_the_same_clips_have_a_definition_each(tmp_path):
    for name, benchmark in (("tags", DIGITS), ("natural", replace(DIGITS, prompt="natural"))):
        save_definition(tmp_path, name, Definition(benchmark, {}))
    assert read_definitions(tmp_path).keys() == {"tags", "natural"}


def test_the_definition_of_an_own_task_is_kept_and_an_invalid_one_is_skipped(tmp_path):
    own = OwnTaskConfig("dynamic", ["How loud is it?"], metric=["acc", "macro_f1"])
    save_definition(tmp_path, "loud", Definition(DIGITS, {}, own_task=own))
    assert read_definitions(tmp_path)["loud"].own_task == own
    for wrong in ({"label": "x"}, 3, {"label": ["x"], "prompt": ["y"]}, {"label": "x", "prompt": {"a": 1}}):
        table = read_table(tmp_path / FILE)
        table["benchmarks"]["loud"]["own_task"] = wrong
        write_json(tmp_path / FILE, table)
        assert read_definitions(tmp_path)["loud"] == Definition(DIGITS, {}), wrong


def test_definitions_of_an_earlier_run_are_read_with_the_names_of_metrics_today(tmp_path):
    old = replace(DIGITS, metrics=["wer_official", "acc"])
    save_definition(tmp_path, "speech", Definition(old, {"wer_official": 0.1}))
    (definition,) = read_definitions(tmp_path).values()
    assert definition.benchmark.metrics == ["wer_qwen_audio", "acc"]
    assert definition.published == {"wer_qwen_audio": 0.1}
