from dataclasses import replace

import pytest
import torch

from audio_lm.model.encoders.layout_index import flat_index
from audio_lm.pipeline.data import build_data
from audio_lm.pipeline.plan_stage import plan_stage


@pytest.fixture
def build(small, small_sources, own_vocabulary):
    """Function that builds the data of the first stage for a kind of encoder."""
    planned = plan_stage(small, small.stages["pretrain"], small_sources["pretrain"], own_vocabulary)

    def of(kind):
        model = replace(small.model, encoder=replace(small.model.encoder, kind=kind))
        recipe = replace(small, model=model)
        return build_data(recipe, "pretrain", planned, small_sources["pretrain"], own_vocabulary)

    return of


def test_data_workers_compute_the_layout_that_the_encoder_needs(build):
    data = build("whisper")
    loaders = (data.train_dataloader(), *data.val_dataloader())
    for packs in (next(iter(loader)) for loader in loaders):
        for pack in packs:
            expected = flat_index(pack.num_samples)
            assert torch.equal(pack.layout, expected.values)
            assert pack.layout_sizes == expected.sizes


def test_an_encoder_of_another_kind_computes_what_it_needs_itself(build):
    assert build("transformers").packs.collator.layout_of is None
