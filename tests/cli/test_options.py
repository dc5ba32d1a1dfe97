import gc
import logging
import warnings
from types import SimpleNamespace

import pytest

from audio_lm.cli.options import known_keys, known_recipes, paused_gc, silence_libraries


def test_recipes_and_their_settings_are_completed():
    assert known_recipes("spok") == ["spoken_digits", "spoken_digits_new_speaker"]
    keys = known_keys(SimpleNamespace(params={"recipe": "demo"}), "stages.chat.st")
    assert "stages.chat.steps=" in keys
    assert all(key.startswith("stages.chat.st") for key in keys)


def test_warnings_of_libraries_are_suppressed_and_others_are_not():
    with warnings.catch_warnings(record=True) as recorded:
        warnings.resetwarnings()
        silence_libraries()
        warnings.warn("the dataloader does not have many workers", stacklevel=1)
        warnings.warn("something else", stacklevel=1)
    assert [str(warning.message) for warning in recorded] == ["something else"]
    assert logging.getLogger("lightning.pytorch").level == logging.ERROR


def test_garbage_collection_is_paused_and_resumed_even_after_an_error():
    states = [gc.isenabled()]

    def fail():
        with paused_gc():
            states.append(gc.isenabled())
            raise ValueError("unknown")

    with pytest.raises(ValueError, match="unknown"):
        fail()
    assert [*states, gc.isenabled()] == [True, False, True]
