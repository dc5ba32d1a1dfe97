import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from audio_lm.common.errors import UserError
from audio_lm.run.score_file import print_score

FILE = Path(__file__).parents[1] / "golden" / "predictions" / "table.csv"


def printed(path=FILE, **options):
    out = io.StringIO()
    print_score(path, console=Console(file=out, width=60), **options)
    return out.getvalue()


def test_the_table_has_a_denominator_for_every_number():
    lines = printed().splitlines()
    assert lines[0].endswith("table.csv: table")
    assert lines[1].split() == ["benchmark", "number", "kind", "rows", "value", "95", "%"]
    assert lines[2].split()[-6:] == ["clean", "4", "0.500", "0.000", "to", "1.000"]
    assert lines[-1] == "table: 4 of 4 rows are scored, 1 without prediction: wrong in the clean one"


def test_json_has_the_same_numbers():
    record = json.loads(printed(as_json=True))
    numbers = record["benchmarks"][0]["numbers"]
    assert [number["value"] for number in numbers] == [0.5, 0.25]
    assert [number["interval"] for number in numbers] == [[0.0, 1.0], [0.0, 0.75]]
    assert {number["units"] for number in numbers} == {"4 clips"}


def test_an_unknown_language_is_refused():
    with pytest.raises(UserError, match="--language 'elvish-x-1' -- expected a code or name"):
        printed(language="elvish-x-1")
