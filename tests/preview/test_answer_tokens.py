from dataclasses import replace

import pytest

from audio_lm.pipeline.plan_stage import compile_stage, maker_of
from audio_lm.preview.answer_tokens import mean_answer_tokens


def test_the_mean_of_all_rows_is_weighted_by_the_sizes_of_sources(small, own_vocabulary):
    stage = small.stages["pretrain"]
    both = {
        "sec": ["synthetic/events-train", "synthetic/events-validation"],
        "mna": ["synthetic/notes-train"],
    }
    recipe = replace(
        small,
        stages={**small.stages, "pretrain": replace(stage, mixture=replace(stage.mixture, sources=both))},
    )
    maker = maker_of(recipe, own_vocabulary, stage.prompt)
    leaves = [
        leaf for leaf in compile_stage(recipe, recipe.stages["pretrain"]).training if leaf.task == "sec"
    ]
    counts = [
        sum(maker.example(leaf.rows.cut(row), "sec", choice=0).is_learned)
        for leaf in leaves
        for row in range(len(leaf.rows))
    ]
    found = mean_answer_tokens(recipe, "pretrain")
    assert found["sec"] == pytest.approx(sum(counts) / len(counts), rel=0.1)
    assert found["mna"] > found["sec"]
