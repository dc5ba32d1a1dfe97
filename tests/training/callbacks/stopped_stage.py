"""A short stage that a test stops, resumes and compares with an uninterrupted one."""

import pytest
import torch
from lightning import Callback, Trainer
from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import apply_activation_checkpointing
from torch.utils.data import DataLoader
from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer

from audio_lm.checkpoints.config import CheckpointConfig
from audio_lm.checkpoints.discovery import find_checkpoint, valid_checkpoints
from audio_lm.data.collate import Collator
from audio_lm.data.examples import ExampleMaker, with_example
from audio_lm.training.callbacks.checkpoint import StageCheckpoint
from audio_lm.training.config import OptimizerConfig, PartConfig
from audio_lm.training.distributed import TokenSumDDPStrategy
from audio_lm.training.next_token import NextTokenModule
from audio_lm.training.param_groups import learning_rates

STEPS = 6
PARTS = {
    "encoder": PartConfig(lr=1e-3, from_step=3),
    "projector": PartConfig(lr=1e-3),
    "new_tokens": PartConfig(lr=1e-3),
    "language_model": PartConfig(lr=None),
}


class RecordingLogger(Logger):
    """Records every metric with its step; fails if a point is logged twice."""

    name = version = ""

    def __init__(self):
        super().__init__()
        self.points = {}

    @property
    @rank_zero_experiment
    def experiment(self):
        return self

    def log_metrics(self, metrics, step=None):
        for name, value in metrics.items():
            if name != "epoch":
                assert (name, step) not in self.points, f"{name} was logged twice at step {step}"
                self.points[name, step] = float(value).hex()

    def log_hyperparams(self, params, *args, **kwargs):
        pass


class StopAfter(Callback):
    def __init__(self, step, *, after_validation=True):
        self.step, self.after_validation = step, after_validation

    def on_train_batch_start(self, trainer, *_):
        if self.after_validation and trainer.global_step == self.step:
            raise RuntimeError("stopped")

    def on_train_batch_end(self, trainer, *_):
        if not self.after_validation and trainer.global_step == self.step:
            raise RuntimeError("stopped")


@pytest.fixture
def packs(make_cuts, vocabulary):
    """Packs of each step; one a step."""
    maker = ExampleMaker(vocabulary, "tags")
    cuts = [with_example(cut, maker.example(cut, "asr", i)) for i, cut in enumerate(make_cuts(STEPS))]
    return [(Collator()([cut]),) for cut in cuts]


@pytest.fixture
def fit(packs, make_model, tmp_path):
    """Train from a checkpoint, or from step 0; returns the model, logged points and trainer."""

    def fit_stage(
        folder=None,
        *,
        resume_from=None,
        stop=None,
        every=2,
        dropout=0.0,
        parts=PARTS,
        validate=3,
        precision="32-true",
        recomputed=False,
        packs_per_step=1,
        model=None,
        callbacks=(),
        num_ranks=1,
        tensor_parallel=1,
        run_id=None,
        **config,
    ):
        model = model or make_model()
        if recomputed:
            apply_activation_checkpointing(
                model.language_model, check_fn=lambda module: isinstance(module, Qwen2DecoderLayer)
            )
        model.projector.register_forward_hook(
            lambda module, args, output: torch.nn.functional.dropout(output, dropout, module.training)
        )
        module = NextTokenModule(
            model,
            rate_of=learning_rates([name for name, _ in model.named_parameters()], parts),
            factor=lambda step: 1.0 / (1 + step),
            optimizer=OptimizerConfig(),
            tensor_parallel=tensor_parallel,
            log_every=4,  # so that a checkpoint is written between two logs
        )
        folder = folder or tmp_path / "stage"
        keep = StageCheckpoint(
            folder,
            steps=STEPS,
            every=every,
            config=CheckpointConfig(**{"every_minutes": 0, "keep_best": 0, **config}),
            facts={"stage": "pretrain"},
            progress={"stage": "pretrain", "settings": {"a": 1}},
            cursor_behind={step: (step, 0, step) for step in range(STEPS + 1)},
            resume_from=resume_from,
        )
        curves = RecordingLogger()
        if run_id is not None:
            curves.run_id = run_id
        trainer = Trainer(
            accelerator="cpu",
            precision=precision,
            devices=num_ranks,
            strategy=TokenSumDDPStrategy() if num_ranks > 1 else "auto",
            use_distributed_sampler=False,
            max_steps=STEPS,
            max_epochs=-1,
            val_check_interval=validate,
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            logger=curves,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
            callbacks=[*callbacks, keep, *([stop] if stop else [])],
        )
        first = resume_from.step if resume_from else 0
        torch.manual_seed(first)  # not the state that an uninterrupted run has here
        steps = [(packs[step] * packs_per_step) for step in range(first, STEPS)]
        loaders = DataLoader(steps, batch_size=None), DataLoader(packs[:1], batch_size=None)
        if stop:
            with pytest.raises(RuntimeError, match="stopped"):
                trainer.fit(module, *loaders)
        else:
            trainer.fit(module, *loaders)
        return model, curves.points, trainer

    return fit_stage


def stop_and_resume(fit, tmp_path, stop, **settings):
    """Model, points of both attempts, and the step of the checkpoint."""
    _, before, _ = fit(tmp_path / "stopped", stop=stop, **settings)
    found = find_checkpoint(tmp_path / "stopped" / "checkpoints").found
    model, after, trainer = fit(tmp_path / "stopped", resume_from=found, **settings)
    assert trainer.global_step == STEPS
    return model, before | after, found.step


def steps_saved(folder):
    return [checkpoint.step for checkpoint in valid_checkpoints(folder / "checkpoints")]


def checkpoint_callback(trainer):
    return next(callback for callback in trainer.callbacks if isinstance(callback, StageCheckpoint))


class Sums(Callback):
    """Has a state: the sum of steps as a tensor, and their list."""

    def __init__(self):
        self.sum, self.steps = torch.zeros(()), []

    def on_train_batch_end(self, trainer, *_):
        self.steps.append(trainer.global_step)
        self.sum = self.sum + trainer.global_step

    def state_dict(self):
        return {"sum": self.sum, "steps": self.steps}

    def load_state_dict(self, state):
        self.sum, self.steps = state["sum"], state["steps"]


def assert_same(model, other):
    for (name, value), expected in zip(model.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(value, expected), name
