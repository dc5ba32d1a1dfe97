"""Stopped and gone on, by two ranks, with everything on that could be forgotten: bit for bit what it would have been."""

import shutil
import signal
from typing import NamedTuple

import pytest

from audio_lm.checkpoints.discovery import newest_valid
from audio_lm.training import next_token
from audio_lm.training.callbacks import checkpoint
from tests.run.carried import checkpoints, command, equal_weights
from tests.training.callbacks.test_preemption import SignalAt

pytestmark = pytest.mark.slow
AGAIN = "hardware.activation_checkpointing=[encoder,language_model]"
SHARED = "hardware.sharding=fsdp"
HALF = "hardware.precision=bf16"
EVERYTHING = (
    "+model.lora.language_model={rank: 2, dropout: 0.5}",
    "+stages.pretrain.parts.language_model_lora={lr: 1e-2}",
    "stages.pretrain.parts.language_model.lr=null",
    "stages.pretrain.optimizer.clip=0.05",
    "hardware.num_workers=1",
)


class Case(NamedTuple):
    """How both attempts are made, and what each has of its own."""

    both: tuple[str, ...]
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


CASES = {
    "32 bits, recomputed and then not": Case(EVERYTHING, before=(AGAIN,)),
    "half by autocast, recomputed only later": Case((*EVERYTHING, HALF), after=(AGAIN,)),
    "shared out, half by its own policy, recomputed": Case((SHARED, HALF, AGAIN, "hardware.num_workers=1")),
    "shared out, low rank, recomputed and then not": Case((SHARED, *EVERYTHING), before=(AGAIN,)),
}


@pytest.fixture(scope="module", params=CASES)
def stopped(request, carried_recipe, tmp_path_factory):
    """A case, its undisturbed run, and one that one of its ranks was told to leave."""
    pytest.importorskip("peft")
    case, folder = CASES[request.param], tmp_path_factory.mktemp("stopped")
    whole = command(carried_recipe, folder / "whole", 2, *case.both, *case.before)
    assert whole.code == 0, whole.said

    def tell_the_second(number):
        return [SignalAt(2, signal.SIGTERM, "on_after_backward")] if number else []

    first = command(carried_recipe, folder / "stopped", 2, *case.both, *case.before, fault=tell_the_second)
    assert first.codes == [75, 75], first.said
    assert newest_valid(checkpoints(folder / "stopped")).step == 3
    assert sorted(first.losses) == [1, 2, 3]
    return case, whole, first, folder


def gone_on(path, stopped, out, *, ranks=2, fault=None):
    case, _, _, folder = stopped
    shutil.copytree(folder / "stopped", out)
    return command(path, out, ranks, *case.both, *case.after, "resume=auto", fault=fault)


def test_gone_on_it_is_bit_equal(carried_recipe, stopped, tmp_path):
    _, whole, first, folder = stopped
    second = gone_on(carried_recipe, stopped, tmp_path / "run")
    assert second.code == 0, second.said
    assert first.cuts | second.cuts == whole.cuts
    assert first.losses | second.losses == whole.losses
    assert equal_weights(tmp_path / "run", folder / "whole")


def without_moments(number):
    """A resume that forgets what the optimizer had kept."""
    checkpoint.state._load_optimizer = lambda *_: None


def without_step(number):
    """Dropout that falls as it did at the beginning of an attempt: a chance that lives in the process."""
    key_of, begun = next_token.key_of, []

    def counted(seed, purpose, step, first):
        begun.append(step)
        return key_of(seed, purpose, step - begun[0], first)

    next_token.key_of = counted


FORGOTTEN = {"moments of the optimizer": without_moments, "key of chance": without_step}


def test_what_is_forgotten_shows(carried_recipe, stopped, tmp_path):
    """The control of the test above."""
    case, whole, first, folder = stopped
    drops = "+model.lora" in " ".join(case.both)
    for name, forget in FORGOTTEN.items():
        if name == "key of chance" and not drops:
            continue
        second = gone_on(carried_recipe, stopped, tmp_path / name, fault=forget)
        assert second.code == 0, second.said
        assert first.cuts | second.cuts == whole.cuts, name
        assert second.losses != {step: whole.losses[step] for step in second.losses}, name
        assert not equal_weights(tmp_path / name, folder / "whole"), name


def test_one_rank_goes_on_with_what_two_began_and_would_not_without_moments(
    carried_recipe, undisturbed, tmp_path
):
    whole, _ = undisturbed
    tell = [SignalAt(2)]
    first = command(carried_recipe, tmp_path / "run", 2, fault=lambda number: tell[number:])
    assert first.codes == [75, 75], first.said
    shutil.copytree(tmp_path / "run", tmp_path / "forgetful")
    second = command(carried_recipe, tmp_path / "run", 1, "resume=auto")
    assert "same batches" in second.said
    assert first.cuts | second.cuts == whole.cuts
    expected = {step: pytest.approx(whole.losses[step], rel=1e-6) for step in second.losses}
    assert second.losses == expected
    forgetful = command(carried_recipe, tmp_path / "forgetful", 1, "resume=auto", fault=without_moments)
    assert forgetful.cuts == second.cuts
    assert forgetful.losses != expected, "the control"
