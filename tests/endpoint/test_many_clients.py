"""Eight clients for a minute, and wrong requests between theirs."""

import pytest

from tests.endpoint.load import measure
from tests.endpoint.served_model import write_model

SECONDS = 60


@pytest.mark.slow
def test_many_clients_get_their_own_answers_in_flat_memory(tmp_path):
    figures = measure(write_model(tmp_path / "mine"), SECONDS)
    table = figures.table()
    assert not figures.errors, figures.errors[:3]
    assert not figures.mixed, figures.mixed[:3]
    assert not figures.wrongly_refused, figures.wrongly_refused[:3]
    assert figures.addresses == {"127.0.0.1"}
    assert table["answers"] > 50
    assert table["different_answers"] > 8, "the control: a mixed answer would be seen"
    assert table["mib_at_the_end"] < 1.05 * table["mib_after_a_third"]
