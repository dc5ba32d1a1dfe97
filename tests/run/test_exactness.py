import pytest

from audio_lm.config.load import load_recipe
from audio_lm.run.exactness import environment_of, promise_of

CHANGES = {
    "nothing": ({}, "", "exact: "),
    "ranks": ({"ranks": "2"}, "", "same batches: the same packs follow; losses equal to about 1e-6"),
    "torch": ({"torch": "1.0"}, "", "losses are not the same bit for bit, because torch was"),
    "audio": ({}, "clip a.wav has changed", "same order; clip a.wav has changed"),
    "bf16": ({"precision": "bf16", "ranks": "2"}, "", "losses are not the same bit for bit"),
}


@pytest.mark.parametrize(("changed", "audio", "promise"), CHANGES.values(), ids=CHANGES)
def test_the_promise_follows_from_what_differs(small_recipe, changed, audio, promise):
    now = environment_of(load_recipe(small_recipe).recipe)
    assert promise in promise_of(now, now | changed, audio)


def test_the_number_of_devices_counts_as_ranks_and_workers_do_not_count(small_recipe):
    keys = environment_of(load_recipe(small_recipe).recipe).keys()
    assert {"ranks", "threads", "torch", "device", "sharding"} <= keys
    assert not {"devices", "nodes", "num_workers"} & keys
