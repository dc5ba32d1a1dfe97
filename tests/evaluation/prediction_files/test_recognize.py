from pathlib import Path

import pytest

from audio_lm.common.errors import DataError
from audio_lm.evaluation.prediction_files.format import ReadOptions
from audio_lm.evaluation.prediction_files.recognize import FORMATS, read_file
from audio_lm.evaluation.prediction_files.records import read_records

FOLDER = Path(__file__).parents[2] / "golden" / "predictions"
PREFIXES = {
    "airbench",
    "kimi",
    "lmms_eval",
    "mmar",
    "mmau",
    "mmau_pro",
    "nemo",
    "qwen",
    "table",
    "ultraeval",
    "audio_lm",
}


def files():
    for path in sorted(FOLDER.glob("*.*")):
        name = max((one for one in PREFIXES if path.stem.startswith(one)), key=len, default="")
        if name and path.suffix in (".json", ".jsonl", ".csv", ".tsv"):
            yield pytest.param(path, name, id=path.name)


@pytest.mark.parametrize(("path", "name"), files())
def test_every_golden_file_is_recognized_whatever_its_name(path, name, tmp_path):
    copy = tmp_path / "answers.txt"
    copy.write_bytes(path.read_bytes())
    keys = frozenset(key for record in read_records(copy) for key in record.fields)
    assert next(one.name for one in FORMATS if one.matches(keys)) == name


def test_every_format_has_a_golden_and_a_spoilt_file():
    for one in FORMATS:
        assert list(FOLDER.glob(f"{one.name}*")), one.name
        assert list((FOLDER / "spoilt").glob(f"{one.name}*")), one.name


def test_unknown_keys_are_listed(tmp_path):
    (tmp_path / "x.json").write_text('[{"foo": 1}]')
    with pytest.raises(
        DataError, match=r"the keys 'foo' belong to no known format -- expected one of: .*MMAU"
    ):
        read_file(ReadOptions(tmp_path / "x.json"))
