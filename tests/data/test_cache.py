import numpy as np
import pytest

from audio_lm.common.errors import UserError
from audio_lm.data.cache import cached_table, writable_cache


def table(tmp_path, known, made, *, num_rows=3):
    def make():
        made.append(known)
        return np.arange(2 * num_rows, dtype=np.int32).reshape(num_rows, 2)

    return cached_table(tmp_path, "made/noise/tokens", known, make, num_rows=num_rows)


def test_a_table_is_computed_once_per_key(tmp_path):
    made = []
    for known in (["a", 1], ["a", 1], ["a", 2]):
        assert table(tmp_path, known, made).tolist() == [[0, 1], [2, 3], [4, 5]]
    assert made == [["a", 1], ["a", 2]]


def test_a_table_with_one_flipped_bit_is_computed_again(tmp_path):
    made = []
    table(tmp_path, ["a"], made)
    (path,) = tmp_path.rglob("tokens-*.npy")
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 8
    path.write_bytes(raw)
    assert table(tmp_path, ["a"], made)[2].tolist() == [4, 5]
    assert len(made) == 2


def test_a_cache_that_cannot_be_written_is_named_with_the_setting(tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(UserError, match=r"cache.* set cache_dir to a folder you may write to"):
        table(tmp_path / "cache", ["a"], [])


def test_an_error_outside_the_cache_is_not_blamed_on_the_cache(tmp_path):
    with pytest.raises(FileNotFoundError), writable_cache(tmp_path / "cache"):
        (tmp_path / "manifest").read_text()
