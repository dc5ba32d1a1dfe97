"""The model of each stage: one that stays, or one that is shared out anew for what the stage trains.

A model that is shared out begins every stage from files, so no rank ever holds the whole of it: from
those the stage before left, or from where the recipe's first weights come from.
"""

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path

import torch

from audio_lm.common.errors import CheckpointError
from audio_lm.common.runtime import is_main
from audio_lm.config.schema import Recipe
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.weights.parts import load_weights
from audio_lm.pipeline.model import apply_fsdp, build_audio_lm, build_mesh
from audio_lm.pipeline.trainer import build_module
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.run.folder import RunFolder
from audio_lm.run.replay import keep_packs
from audio_lm.training.fsdp import summon_full_params
from audio_lm.training.next_token import NextTokenModule
from audio_lm.training.param_groups import Rate


class StageModels:
    """Gives each stage its model.

    Args:
        model: with its first weights, or its outline where it is shared out.
        rates: of every stage.
        wait: until all ranks are here, however long.
        building: what making or loading a model stands in.
    """

    def __init__(
        self,
        recipe: Recipe,
        vocabulary: Vocabulary,
        model: AudioLM,
        rates: Mapping[str, Mapping[str, Rate | None]],
        *,
        wait: Callable[[], object] = lambda: None,
        building: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.recipe = recipe
        self.vocabulary = vocabulary
        self.model = model
        self.rates = rates
        self.wait = wait
        self.building = building
        self.mesh = build_mesh(recipe.hardware)

    @property
    def is_shared(self) -> bool:
        """Whether all ranks are needed to ask it anything."""
        return self.mesh is not None

    def begin(self, stage: str, weights: Path | None) -> AudioLM:
        """The model as a stage begins.

        Args:
            weights: what ``save_model`` wrote; none goes on with the weights there are, which are the first
                ones where the model is shared out.

        Raises:
            CheckpointError: they do not fit.
        """
        with self.building():
            self._begin(stage, weights)
        return self.model

    def _begin(self, stage: str, weights: Path | None) -> None:
        if self.mesh is not None:
            del self.model
            gc.collect()  # a model and what gathers it know each other
            self.model = build_audio_lm(self.recipe, self.vocabulary, on_meta=True)
            apply_fsdp(self.model, self.recipe, self.vocabulary, self.rates[stage], self.mesh, weights)
        elif weights is not None:
            load_weights(self.model, weights)

    def module(self, stage: str, folder: Path) -> NextTokenModule:
        """Who learns what in a stage, and where packs of steps that went wrong are kept.

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
        )

    @contextmanager
    def asked(self) -> Iterator[None]:
        """For as long as the model answers, which all ranks do where it is shared out."""
        if self.mesh is None:
            yield
            return
        hardware = self.recipe.hardware
        half = torch.autocast(self.mesh.device_type, torch.bfloat16, enabled=hardware.is_half)
        self.wait()  # the first rank also writes down what was answered before
        with summon_full_params(self.model), half:
            yield


def first_weights(
    recipe: Recipe, folder: RunFolder, stage: str, *, is_shared: bool, agreed: Callable[[int], int]
) -> Path | None:
    """Where a stage finds the weights it begins with, unless the model has them; the first rank looks at their seals.

    Args:
        is_shared: the model is shared out, and begins every stage from files.
        agreed: the largest of the ranks' numbers.

    Raises:
        CheckpointError: they are not those that the stage before has left; names the file.
    """
    names = list(recipe.stages)
    before = names[: names.index(stage)]
    if not before or not (recipe.only or recipe.is_resumed or is_shared):
        return None
    fault = folder.model_fault(before[-1]) if is_main() else None
    if agreed(int(fault is not None)):
        folder.check_model(before[-1])
        raise CheckpointError(
            f"{folder.model(before[-1])}: the first rank reads something else than was written"
        )
    return folder.model(before[-1])
