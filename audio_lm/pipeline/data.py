"""The data module of a stage."""

from audio_lm.config.schema import Recipe
from audio_lm.data.audio.faults import load_waves_or_fault
from audio_lm.data.collate import Collator
from audio_lm.data.datamodule import MixtureDataModule, PackDataset, PackSampler
from audio_lm.data.mixture.schedule import Cursor
from audio_lm.model.encoders.layout_index import LAYOUT_OF
from audio_lm.pipeline.plan_stage import StagePlan, StageSources, stage_maker, unreadable_cuts
from audio_lm.prompts.vocabulary import Vocabulary

FIRST = Cursor()


def build_data(
    recipe: Recipe,
    stage_name: str,
    planned: StagePlan,
    sources: StageSources,
    vocabulary: Vocabulary,
    *,
    cursor: Cursor = FIRST,
) -> MixtureDataModule:
    """Build the data module of a stage, from a cursor on."""
    stage = recipe.stages[stage_name]
    collator = Collator(
        policy=stage.spec_augment,
        num_mels=recipe.model.encoder.sizes.num_mels,
        seed=recipe.seed,
        load=load_waves_or_fault,
        unreadable=unreadable_cuts(planned.loaded),
        layout_of=LAYOUT_OF.get(recipe.model.encoder.kind),
    )
    return MixtureDataModule(
        PackSampler(planned.plan, cursor, tensor_parallel=recipe.hardware.tensor_parallel),
        PackDataset(planned.loaded, stage_maker(recipe, stage, vocabulary), collator, is_measured=True),
        validation=sources.validation,
        validation_maker=stage_maker(recipe, stage, vocabulary, is_evaluation=True),
        max_tokens=stage.pack_tokens,
        num_workers=recipe.hardware.num_workers,
        seconds_for_a_step=recipe.fault_tolerance.loader_seconds,
    )
