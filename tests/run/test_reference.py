"""Runs with the objectives dpo and grpo: killed and resumed, and on two ranks with FSDP2."""

import random

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from audio_lm.config.load import load_recipe
from audio_lm.data.mixture.schedule import Cursor
from audio_lm.data.reference import Chunk
from audio_lm.pipeline.data import build_data
from audio_lm.pipeline.model import build_audio_lm
from audio_lm.pipeline.plan_stage import compile_stage, plan_stage
from audio_lm.pipeline.vocabulary import build_vocabulary
from audio_lm.run import reference
from audio_lm.run import stage as training
from tests.forked import on_ranks
from tests.pairs import CUT_SET, write_pairs
from tests.run.observed_run import Observer, disable_watchdog, run_training

STEPS = 6
RECIPE = f"""
use: {{use}}
hardware: {{hardware}}
data_dir: {{data}}
tracking: {{tracking}}
stages:
  pretrain:
    prompt: chatml
    objective: {{objective}}
    spec_augment: null
    mixture: {{{{sources: {{{{chat: [{CUT_SET}]}}}}, weights: {{{{chat: 1}}}}}}}}
    validation: {{{{sources: {{{{chat: [{CUT_SET}]}}}}, weights: {{{{chat: 1}}}}}}}}
    max_validation_clips: 3
    validate_every: 3
    parts:
      encoder: {{{{lr: 1e-3}}}}
      projector: {{{{lr: 1e-3}}}}
      new_tokens: {{{{lr: 1e-3}}}}
      language_model: {{{{lr: 1e-3}}}}
    steps: {STEPS}
    pack_tokens: 900
    packs_per_step: 2
    checkpoint_every: 1
    checkpoints: {{{{asynchronous: false}}}}
"""
OBJECTIVES = {
    "dpo": "dpo\n    dpo: {beta: 0.5, sft: 0.1}",
    "grpo": "grpo\n    grpo: {rewards: {rouge_l: 1, format: 0.5}, num_answers: 3, max_new_tokens: 6, kl: 0.05}",
}


def test_the_time_of_a_reference_is_measured_on_some_pairs_and_counted_for_all(small, tmp_path, monkeypatch):
    write_pairs(small.data_dir, tmp_path / "data")
    values = {
        "use": "{model: tiny, hardware: cpu}",
        "hardware": "{num_threads: 1}",
        "data": tmp_path / "data",
    }
    text = RECIPE.format(**values, tracking="{num_listening_clips: 0}", objective=OBJECTIVES["dpo"])
    (tmp_path / "dpo.yaml").write_text(text)
    recipe = load_recipe(tmp_path / "dpo.yaml").recipe
    sources = {"pretrain": compile_stage(recipe, recipe.stages["pretrain"])}
    vocabulary = build_vocabulary(recipe, sources)
    model = build_audio_lm(recipe, vocabulary)
    planned = plan_stage(recipe, recipe.stages["pretrain"], sources["pretrain"], vocabulary)
    data = build_data(recipe, "pretrain", planned, sources["pretrain"], vocabulary, cursor=Cursor())
    sizes = []
    monkeypatch.setattr(
        reference, "_compute", lambda model, pairs, chunk, hardware: sizes.append(len(chunk.codes))
    )
    monkeypatch.setattr(reference, "TIMED_PAIRS", 2)
    clock = iter([10.0, 14.0])
    monkeypatch.setattr(reference.time, "monotonic", lambda: next(clock))
    pairs = sum(len(chunk.codes) for chunk in reference._pairs_of(recipe, "pretrain", data)[1])
    assert reference.time_of_reference(model, recipe, "pretrain", data) == pytest.approx(4 / 2 * pairs)
    assert sizes == [2, 2], "the first is not timed"


@pytest.fixture(scope="module")
def recipes(small, tmp_path_factory):
    """Objective -> path of its recipe."""
    folder = tmp_path_factory.mktemp("preference")
    write_pairs(small.data_dir, folder / "data")
    values = {
        "use": "{model: tiny, hardware: cpu}",
        "hardware": "{num_threads: 1}",
        "data": folder / "data",
        "tracking": f'{{uri: "sqlite:///{folder}/mlflow.db", num_listening_clips: 0}}',
    }
    paths = {}
    for name, objective in OBJECTIVES.items():
        paths[name] = folder / f"{name}.yaml"
        paths[name].write_text(RECIPE.format(**values, objective=objective))
    return paths


@pytest.fixture(scope="module")
def whole(recipes, tmp_path_factory):
    """Objective -> losses and folder of a run on one rank that is not interrupted."""
    runs = {}
    for name, path in recipes.items():
        out = tmp_path_factory.mktemp("whole") / name
        runs[name] = run_training(path, out, 1)[1], out
    return runs


def weights(out):
    return {path.stem: load_file(path) for path in sorted((out / "stages/pretrain/model").iterdir())}


def assert_equal_weights(ours, theirs, rel=0.0):
    for part, values in weights(ours).items():
        for name, value in values.items():
            torch.testing.assert_close(
                value, weights(theirs)[part][name], rtol=rel, atol=rel, msg=f"{part} {name}"
            )


def references(out):
    """Log-probabilities under the reference, by file."""
    return {path.name: np.load(path)["values"] for path in sorted(out.rglob("reference/*/*.npz"))}


@pytest.mark.slow
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_run_that_is_killed_at_any_step_resumes_bit_equal(recipes, whole, tmp_path, objective):
    kill = random.randrange(1, STEPS)
    print(f"killed before step {kill}")
    assert run_training(recipes[objective], tmp_path / "run", 1, kill=kill) is None
    _, losses, _ = run_training(recipes[objective], tmp_path / "run", 1, "resume=auto")
    expected, folder = whole[objective]
    assert losses == {step: loss for step, loss in expected.items() if step > kill}
    assert_equal_weights(tmp_path / "run", folder)


@pytest.mark.slow
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_two_sharded_ranks_have_the_losses_of_one(recipes, whole, tmp_path, objective):
    _, losses, _ = run_training(recipes[objective], tmp_path / "run", 2, "hardware.sharding=fsdp")
    expected, folder = whole[objective]
    assert losses == pytest.approx(expected, rel=1e-6, abs=1e-6)
    for name, values in references(folder).items():
        np.testing.assert_allclose(references(tmp_path / "run")[name], values, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("sharding", ["none", "fsdp"])
def test_two_ranks_killed_at_any_step_resume_bit_equal_with_the_cached_reference(recipes, tmp_path, sharding):
    settings = (2, f"hardware.sharding={sharding}")
    _, expected, _ = run_training(recipes["dpo"], tmp_path / "whole", *settings)
    kill = random.randrange(1, STEPS)
    print(f"killed before step {kill}")
    assert run_training(recipes["dpo"], tmp_path / "run", *settings, kill=kill) is None
    cached = {path: path.stat().st_mtime_ns for path in sorted((tmp_path / "run").rglob("reference/*/*.npz"))}
    assert len(cached) == 2  # training and validation
    _, losses, _ = run_training(recipes["dpo"], tmp_path / "run", *settings, "resume=auto")
    assert losses == {step: loss for step, loss in expected.items() if step > kill}
    assert_equal_weights(tmp_path / "run", tmp_path / "whole")
    assert {path: path.stat().st_mtime_ns for path in cached} == cached, "the reference was computed again"
    whole, continued = references(tmp_path / "whole"), references(tmp_path / "run")
    assert {name: values.tobytes() for name, values in continued.items()} == {
        name: values.tobytes() for name, values in whole.items()
    }


def test_the_reference_is_computed_once_and_continues_after_a_kill(recipes, tmp_path, monkeypatch):
    out = tmp_path / "run"
    counts = [on_ranks(1, lambda number, kill=kill: _count_chunks(recipes["dpo"], out, kill), may_die=kill is not None)[0]
              for kill in (1, None)]  # fmt: skip
    assert counts[0] is None
    assert counts[1] == (1, 2)  # one of two chunks was there: training and validation


def _count_chunks(path, out, kill):
    """Number of chunks that a start writes, and that are there before the first step; dies after ``kill`` chunks."""
    disable_watchdog()
    import os
    import signal

    from audio_lm.config.load import load_recipe
    from audio_lm.run.train import train

    written, write, build = [], Chunk.write, training.build_trainer

    def write_or_die(self, folder, values):
        write(self, folder, values)
        written.append(self.path(folder))
        if len(written) == kill:
            os.kill(os.getpid(), signal.SIGKILL)

    Chunk.write = write_or_die
    training.build_trainer = lambda *a, callbacks, **k: build(*a, callbacks=[Observer(), *callbacks], **k)
    overrides = ["resume=auto"] if kill is None else []
    train(load_recipe(path, ["stages.pretrain.steps=1", *overrides]), out=out)
    return len(written), len(references(out))
