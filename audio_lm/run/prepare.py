"""Corpora, data order, vocabulary and model of a start, checked against each other before training."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from audio_lm.model.audio_lm import AudioLM
from audio_lm.pipeline.benchmark_data import check_benchmarks, check_guard_text
from audio_lm.pipeline.corpora import prepare_corpora
from audio_lm.pipeline.model import build_audio_lm, rates_of
from audio_lm.pipeline.plan_stage import StagePlan, StageSources, compile_stage, plan_stage
from audio_lm.pipeline.plugins import check_plugins
from audio_lm.pipeline.vocabulary import build_vocabulary, check_tags
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.run.session import RunSession
from audio_lm.run.start import RunStart
from audio_lm.training.optimizers import is_without_effect
from audio_lm.training.param_groups import Rate


@dataclass(frozen=True)
class Prepared:
    """A recipe whose data, vocabulary, model and parts fit together."""

    sources: Mapping[str, StageSources]
    plans: Mapping[str, StagePlan]
    vocabulary: Vocabulary
    model: AudioLM
    """Without memory for its weights where it is sharded."""

    rates: Mapping[str, Mapping[str, Rate | None]]
    """Of every parameter, stage by stage."""

    start_weights: Path | None = None
    """Folder of another run's weights that the model starts from."""


def prepare(start: RunStart, session: RunSession) -> Prepared:
    """Prepare everything that training needs; writes to caches only.

    Raises:
        UserError: recipe, data or checkpoints do not fit together.
    """
    recipe = start.recipe
    stages = start.choose_stages()
    check_plugins(recipe)
    prepare_corpora(recipe, session.print)
    began = time.monotonic()
    sources = {name: compile_stage(recipe, stage) for name, stage in recipe.stages.items()}
    check_benchmarks(recipe)
    check_guard_text(recipe)
    tokenizer, tokens = start.kept_vocabulary()
    vocabulary = build_vocabulary(recipe, sources, tokenizer, tokens=tokens)
    check_tags(recipe, vocabulary)
    plans = {
        name: plan_stage(recipe, stage, sources[name], vocabulary) for name, stage in recipe.stages.items()
    }
    start.check_start_vocabulary(vocabulary)
    start.resolve(plans, vocabulary)
    with session.building():
        model = build_audio_lm(recipe, vocabulary, on_meta=recipe.hardware.sharding != "none")
        if (weights := start.start_weights) is not None and recipe.hardware.sharding == "none":
            weights.load(model)
    rates = rates_of(recipe, model)
    for name in stages:
        if is_without_effect(model, rates[name], recipe.stages[name].optimizer):
            session.print(
                f"{name}: optimizer.kind=muon has no effect, because no hidden matrix is trained; AdamW updates everything"
            )
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    num_rows = sum(source.num_rows for planned in plans.values() for source in planned.leaves)
    session.print(
        f"{num_rows} training examples planned, vocabulary of {len(vocabulary)}, model of {num_parameters / 1e6:.2f} M "
        f"parameters, in {time.monotonic() - began:.0f} s"
    )
    folder = None if weights is None else weights.folder
    return Prepared(sources, plans, vocabulary, model, rates, folder)
