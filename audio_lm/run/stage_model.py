"""The model of each stage: one that stays in memory, or one that is sharded again for the parts that the stage trains.

A sharded model loads its weights from files at every stage, so that no rank ever holds all of them: those of the stage
before, or those that the recipe starts from.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch

from audio_lm.common.env import local_rank
from audio_lm.config.schema import Recipe
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.weights.parts import load_weights
from audio_lm.pipeline.model import apply_fsdp, build_audio_lm, build_mesh
from audio_lm.pipeline.trainer import answer_format, build_module
from audio_lm.run.prepare import Prepared
from audio_lm.run.replay import keep_packs
from audio_lm.run.session import RunSession
from audio_lm.training.fsdp import summon_full_params
from audio_lm.training.step import TrainStep


class StageModels:
    """Loads, shards and wraps the model for each stage."""

    def __init__(self, recipe: Recipe, prepared: Prepared, session: RunSession) -> None:
        self.recipe = recipe
        self.vocabulary = prepared.vocabulary
        self.model = prepared.model
        self.rates = prepared.rates
        self.start_weights = prepared.start_weights
        self.session = session
        self.mesh = build_mesh(recipe.hardware)
        session.groups.include(self.mesh)

    @property
    def is_sharded(self) -> bool:
        """True when the model is sharded, and every use of it is a collective."""
        return self.mesh is not None

    def load(self, stage: str, weights: Path | None) -> AudioLM:
        """Load the weights that a stage starts from.

        Args:
            weights: folder that ``save_model`` wrote; None keeps the weights in memory, or, where the model is
                sharded, loads those that the recipe starts from.

        Raises:
            CheckpointError: they do not fit.
        """
        with self.session.building():
            self._load(stage, weights)
        return self.model

    def _load(self, stage: str, weights: Path | None) -> None:
        if self.mesh is not None:
            del self.model
            gc.collect()  # the model and its gradient hooks reference each other
            self.model = build_audio_lm(self.recipe, self.vocabulary, on_meta=True)
            weights = weights or self.start_weights
            apply_fsdp(self.model, self.recipe, self.vocabulary, self.rates[stage], self.mesh, weights)
        elif weights is not None:
            load_weights(self.model, weights)

    def module(self, stage: str, folder: Path) -> TrainStep:
        """Lightning module of a stage.

        Args:
            folder: of the stage.
        """
        return build_module(
            self.recipe.stages[stage],
            self.model,
            self.rates[stage],
            seed=self.recipe.seed,
            tensor_parallel=self.recipe.hardware.tensor_parallel,
            is_half=self.recipe.hardware.is_half,
            keep=partial(keep_packs, self.model, folder, stage),
            answers=answer_format(self.recipe.stages[stage], self.vocabulary),
        )

    @contextmanager
    def generating(self) -> Iterator[None]:
        """Context in which the model generates; of a sharded model all ranks gather the weights."""
        if self.mesh is None:
            if self.recipe.hardware.accelerator == "gpu":
                # Lightning moves the model to the CPU when a stage ends.
                self.model.to(torch.device("cuda", local_rank()))
            yield
            return
        hardware = self.recipe.hardware
        half = torch.autocast(self.mesh.device_type, torch.bfloat16, enabled=hardware.is_half)
        self.session.wait()  # the first rank also writes the answers of the benchmark before
        with summon_full_params(self.model), half:
            yield
