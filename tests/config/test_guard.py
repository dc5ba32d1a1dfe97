from dataclasses import replace

import pytest

from audio_lm.common.errors import RecipeError
from audio_lm.config.guard import available_guard, check_guard
from audio_lm.evaluation.config import GuardConfig


def test_a_guard_names_benchmarks_of_earlier_stages(small):
    check_guard(replace(small, guard=GuardConfig(["events"], "synthetic/dialogues-test")))
    for name, message in (("evnts", "Did you mean 'events'"), ("dialogues", "is the last one")):
        with pytest.raises(RecipeError, match=message):
            check_guard(replace(small, guard=GuardConfig([name])))


def test_a_guard_of_nothing_is_refused():
    with pytest.raises(RecipeError, match="neither benchmarks nor a text"):
        GuardConfig()


def test_a_smoke_test_guards_what_has_data():
    guard = GuardConfig(["events", "notes"], "own/text-test")
    assert available_guard(guard, {"notes"}, lambda source: False) == GuardConfig(["notes"])
    assert available_guard(guard, set(), lambda source: False) is None
    assert available_guard(None, {"notes"}, lambda source: True) is None
