"""A stop and a resume on two ranks, with every kind of state in use: bit-equal to an uninterrupted run."""

import shutil
import signal
from typing import NamedTuple

import pytest

from audio_lm.checkpoints.discovery import newest_valid
from audio_lm.training import step as train_step
from audio_lm.training.callbacks import checkpoint
from tests.run.observed_run import checkpoints, equal_weights, run_command
from tests.training.callbacks.test_preemption import SignalAt

pytestmark = pytest.mark.slow
RECOMPUTED = "hardware.activation_checkpointing=[encoder,language_model]"
SHARDED = "hardware.sharding=fsdp"
BF16 = "hardware.precision=bf16"
EVERYTHING = (
    "+model.lora.language_model={rank: 2, dropout: 0.5}",
    "+stages.pretrain.parts.language_model_lora={lr: 1e-2}",
    "stages.pretrain.parts.language_model.lr=null",
    "stages.pretrain.optimizer.clip=0.05",
    "hardware.num_workers=1",
)


class Case(NamedTuple):
    """Overrides of both starts, and those of each."""

    both: tuple[str, ...]
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


CASES = {
    "fp32, recomputed and then not": Case(EVERYTHING, before=(RECOMPUTED,)),
    "bf16 autocast, recomputed only later": Case((*EVERYTHING, BF16), after=(RECOMPUTED,)),
    "sharded, bf16 policy of FSDP2, recomputed": Case((SHARDED, BF16, RECOMPUTED, "hardware.num_workers=1")),
    "sharded, LoRA, recomputed and then not": Case((SHARDED, *EVERYTHING), before=(RECOMPUTED,)),
}


@pytest.fixture(scope="module", params=CASES)
def stopped_case(request, observed_recipe, tmp_path_factory):
    """A case, its uninterrupted run, and one whose second rank received a stop signal."""
    pytest.importorskip("peft")
    case, folder = CASES[request.param], tmp_path_factory.mktemp("stopped")
    whole = run_command(observed_recipe, folder / "whole", 2, *case.both, *case.before)
    assert whole.code == 0, whole.output

    def signal_the_second(number):
        return [SignalAt(2, signal.SIGTERM, "on_after_backward")] if number else []

    first = run_command(
        observed_recipe, folder / "stopped", 2, *case.both, *case.before, fault=signal_the_second
    )
    assert first.codes == [75, 75], first.output
    assert newest_valid(checkpoints(folder / "stopped")).step == 3
    assert sorted(first.losses) == [1, 2, 3]
    return case, whole, first, folder


def resume(path, stopped_case, out, *, ranks=2, fault=None):
    case, _, _, folder = stopped_case
    shutil.copytree(folder / "stopped", out)
    return run_command(path, out, ranks, *case.both, *case.after, "resume=auto", fault=fault)


def test_a_resume_is_bit_equal(observed_recipe, stopped_case, tmp_path):
    _, whole, first, folder = stopped_case
    second = resume(observed_recipe, stopped_case, tmp_path / "run")
    assert second.code == 0, second.output
    assert first.cuts | second.cuts == whole.cuts
    assert first.losses | second.losses == whole.losses
    assert equal_weights(tmp_path / "run", folder / "whole")


def without_moments(number):
    """Resume without the state of the optimizer."""
    checkpoint.state._load_optimizer = lambda *_: None


def without_step(number):
    """Resume with the dropout of the first steps, as if random state lived in the process."""
    key_of, steps = train_step.key_of, []

    def relative_key(seed, purpose, step, first):
        steps.append(step)
        return key_of(seed, purpose, step - steps[0], first)

    train_step.key_of = relative_key


FORGOTTEN = {"optimizer state": without_moments, "random key": without_step}


def test_a_resume_without_some_state_is_not_bit_equal(observed_recipe, stopped_case, tmp_path):
    """Control of the test above."""
    case, whole, first, folder = stopped_case
    has_dropout = "+model.lora" in " ".join(case.both)
    for name, forget in FORGOTTEN.items():
        if name == "random key" and not has_dropout:
            continue
        second = resume(observed_recipe, stopped_case, tmp_path / name, fault=forget)
        assert second.code == 0, second.output
        assert first.cuts | second.cuts == whole.cuts, name
        assert second.losses != {step: whole.losses[step] for step in second.losses}, name
        assert not equal_weights(tmp_path / name, folder / "whole"), name


def test_one_rank_resumes_a_run_of_two_and_needs_the_optimizer_state(observed_recipe, undisturbed, tmp_path):
    whole, _ = undisturbed
    callbacks = [SignalAt(2)]
    first = run_command(observed_recipe, tmp_path / "run", 2, fault=lambda number: callbacks[number:])
    assert first.codes == [75, 75], first.output
    shutil.copytree(tmp_path / "run", tmp_path / "forgetful")
    second = run_command(observed_recipe, tmp_path / "run", 1, "resume=auto")
    assert "same batches" in second.output
    assert first.cuts | second.cuts == whole.cuts
    expected = {step: pytest.approx(whole.losses[step], rel=1e-6) for step in second.losses}
    assert second.losses == expected
    forgetful = run_command(observed_recipe, tmp_path / "forgetful", 1, "resume=auto", fault=without_moments)
    assert forgetful.cuts == second.cuts
    assert forgetful.losses != expected, "the control"
