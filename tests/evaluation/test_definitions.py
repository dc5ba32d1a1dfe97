import json
from dataclasses import replace

import pytest

from audio_lm.common.files import seal
from audio_lm.evaluation.config import BenchmarkConfig
from audio_lm.evaluation.definitions import FILE, Definition, read_definitions, save_definition
from audio_lm.evaluation.majority import Majority

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
