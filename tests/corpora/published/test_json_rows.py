import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.json_rows import read_json_rows


def test_rows_of_json_have_the_wanted_keys(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text('[{"id": 0, "text": "x"}]')
    assert read_json_rows(path, ("id", "text")) == [{"id": 0, "text": "x"}]
    for content, message in (
        ('[{"id": 0, "text": ""}]', "row 1 has no text"),
        ("[3]", "row 1 has no id, text"),
        ("{}", "contains a dict -- expected a list of rows"),
        ("[", "is not JSON"),
    ):
        path.write_text(content)
        with pytest.raises(DataError, match=message):
            read_json_rows(path, ("id", "text"))
