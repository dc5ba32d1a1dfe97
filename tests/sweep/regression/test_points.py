import numpy as np
import pytest

from audio_lm.sweep.regression.points import Encoding, SettingColumns
from tests.sweep.surfaces import known_table


@pytest.mark.parametrize(
    ("values", "columns"),
    [
        ([1, 2, 3], [[-0.5], [0.0], [0.5]]),
        ([1e-4, 1e-3, 1e-2], [[-0.5], [0.0], [0.5]]),  # as logarithms
        ([False, True, True], [[-2 / 3], [1 / 3], [1 / 3]]),
        (["natural", "tags", "natural"], [[1, 0], [0, 1], [1, 0]]),
        ([None, 1, 1], [[0, 1], [1, 0], [1, 0]]),
    ],
)
def test_a_setting_becomes_columns_of_similar_size(values, columns):
    np.testing.assert_allclose(SettingColumns.of("key", values).encode(values), columns, atol=1e-12)


def test_settings_that_do_not_differ_are_no_input():
    table = known_table(6, 0)
    table.settings.update({"model.lora.rank": [8] * 6, "stages.a.lr": [1, 2, 3, 1, 2, 3]})
    encoding = Encoding.of(table)
    assert encoding.of_table(table).extra.shape == (6, 1)


def test_points_of_shares_have_the_fixed_settings():
    table = known_table(6, 0)
    table.settings.update({"prompt": ["a", "b"] * 3})
    encoding = Encoding(Encoding.of(table).settings, fixed={"prompt": "b"})
    np.testing.assert_array_equal(encoding.of_shares(table.shares[:2]).extra, [[0, 1], [0, 1]])
