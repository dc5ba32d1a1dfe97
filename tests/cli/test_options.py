import gc
from types import SimpleNamespace

import pytest

from audio_lm.cli.options import known_keys, known_recipes, paused_gc


def test_recipes_and_their_settings_are_completed():
    assert known_recipes("spok") == ["spoken_digits", "spoken_digits_new_speaker"]
    keys = known_keys(SimpleNamespace(params={"recipe": "demo"}), "stages.chat.st")
    assert "stages.chat.steps=" in keys
    assert all(key.startswith("stages.chat.st") for key in keys)


def test_garbage_collection_is_paused_and_resumed_even_after_an_error():
    states = [gc.isenabled()]

    def fail():
        with paused_gc():
            states.append(gc.isenabled())
            raise ValueError("unknown")

    with pytest.raises(ValueError, match="unknown"):
        fail()
    assert [*states, gc.isenabled()] == [True, False, True]
