import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from audio_lm.common.errors import DataError
from audio_lm.config.load import load_recipe
from audio_lm.data.config import MixtureConfig, OnlineConfig, SourceFacts
from audio_lm.model.config import ProjectorConfig
from audio_lm.preview.estimate import estimate_stages
from audio_lm.preview.estimate_table import print_estimates


@pytest.mark.parametrize("name", ["qwen_audio", "qwen2_audio"])
def test_a_recipe_at_full_size_is_planned_without_any_audio(name):
    for stage in estimate_stages(load_recipe(name).recipe):
        assert sum(leaf.share_of_clips for leaf in stage.leaves) == pytest.approx(1)
        assert sum(leaf.share_of_tokens for leaf in stage.leaves) == pytest.approx(1)
        clips = sum(leaf.expected_clips for leaf in stage.leaves)
        assert clips == pytest.approx(stage.steps * stage.conversations_per_step)
        tokens = sum(leaf.expected_tokens for leaf in stage.leaves)
        assert tokens / (stage.steps * stage.packs_per_step * stage.pack_tokens) == pytest.approx(
            stage.fill, rel=1e-3
        )
        for leaf in stage.leaves:
            assert leaf.expected_clips / leaf.clips == pytest.approx(leaf.passes)
            assert leaf.expected_hours / leaf.hours == pytest.approx(leaf.passes) if leaf.hours else True
            assert not leaf.is_measured
            assert not leaf.longest
        assert [example.task for example in stage.examples] == list(
            dict.fromkeys(leaf.task for leaf in stage.leaves)
        )
        for example in stage.examples:
            assert example.is_imagined
            assert any(is_learned for _, is_learned in example.pieces)
            (mean, *_) = (leaf.mean_tokens for leaf in stage.leaves if leaf.task == example.task)
            assert example.num_tokens == round(mean)
        parts = {what: gib for what, gib in stage.memory_gib.items() if what != "total"}
        assert max(parts.values()) < stage.memory_gib["total"] <= sum(parts.values()) + 0.01
        assert 10 < stage.memory_gib["total"] < 141


def test_the_hours_of_the_paper_decide_the_shares_of_seconds():
    pretrain = next(estimate_stages(load_recipe("qwen_audio").recipe))
    total = sum(leaf.hours for leaf in pretrain.leaves)
    drawn = sum(leaf.expected_hours for leaf in pretrain.leaves)
    assert len(pretrain.leaves) == 31
    for leaf in pretrain.leaves:
        assert leaf.expected_hours / drawn == pytest.approx(leaf.hours / total, abs=1e-4)


def test_prepared_sources_are_measured(small):
    stages = list(estimate_stages(small))
    assert [stage.name for stage in stages] == list(small.stages)
    for stage in stages:
        assert all(leaf.is_measured for leaf in stage.leaves)
        assert 0.8 < stage.fill <= 1
        for leaf in stage.leaves:
            tokens = [count for _, count in leaf.longest]
            assert len(tokens) == 3
            assert tokens == sorted(tokens, reverse=True)
            assert tokens[0] >= leaf.mean_tokens
        assert {example.task for example in stage.examples} == {leaf.task for leaf in stage.leaves}
        assert not any(example.is_imagined for example in stage.examples)
        assert all(0 < example.num_audio_tokens < example.num_tokens for example in stage.examples)


def test_padding_of_buckets_is_reported(small):
    stage = replace(small.stages["pretrain"], packing="buckets")
    buckets = next(estimate_stages(replace(small, stages={"pretrain": stage})))
    full = next(estimate_stages(small))
    assert full.padding is None
    assert 0 <= buckets.padding < 0.2
    console = Console(width=240, record=True)
    print_estimates([full], console)
    assert "padding" not in console.export_text()
    print_estimates([buckets], console)
    assert f"{100 * buckets.padding:.1f} % padding as rows" in console.export_text()


def test_unusual_mixtures_give_warnings(small):
    stage = small.stages["pretrain"]
    many = replace(small, stages={"pretrain": replace(stage, steps=3_000)})
    assert any("epochs" in warning for warning in next(estimate_stages(many)).warnings)
    first, *others = stage.mixture.weights
    rare = replace(stage.mixture, weights={first: 1e-6} | dict.fromkeys(others, 1.0))
    few = replace(small, stages={"pretrain": replace(stage, mixture=rare)})
    assert any("too few to learn" in warning for warning in next(estimate_stages(few)).warnings)
    capped = replace(stage.mixture, max_epochs={stage.mixture.sources[first][0]: 0.5})
    ended = replace(small, stages={"pretrain": replace(stage, mixture=capped, steps=100)})
    assert any("max_epochs" in warning for warning in next(estimate_stages(ended)).warnings)


def test_adapted_shares_are_announced_with_their_first_step_or_found_without_effect(small):
    stage = small.stages["pretrain"]
    online = OnlineConfig(every=20, lead_steps=10, warmup_steps=15, max_share={"sec": 0.6})
    adapted = replace(stage, mixture=replace(stage.mixture, online=online), steps=100)
    warnings = next(estimate_stages(replace(small, stages={"pretrain": adapted}))).warnings
    assert any("adapted from about step 40 on, every 20 steps" in warning for warning in warnings)
    assert any("sec 60 %, mna 100 % at most" in warning for warning in warnings)
    short = replace(small, stages={"pretrain": replace(adapted, steps=40)})
    assert any("the stage has 40, so they stay" in one for one in next(estimate_stages(short)).warnings)


def test_dropped_conversations_are_counted(small):
    stage = replace(small.stages["pretrain"], long_audio="drop")
    complete = next(estimate_stages(replace(small, stages={"pretrain": stage})))
    assert not any("leaves out" in warning for warning in complete.warnings)
    shorter = replace(
        stage, pack_tokens=max(tokens for leaf in complete.leaves for _, tokens in leaf.longest) - 1
    )
    warnings = next(estimate_stages(replace(small, stages={"pretrain": shorter}))).warnings
    assert any(re.search(r"leaves out \d+ of 12 conversations, which are over", text) for text in warnings), (
        warnings
    )


def test_a_source_of_unknown_size_is_named(small):
    mixture = MixtureConfig(sources={"asr": ["nobody/knows-train"]}, weights={"asr": 1.0})
    unknown = replace(small, stages={"pretrain": replace(small.stages["pretrain"], mixture=mixture)})
    with pytest.raises(DataError, match=r"'nobody/knows-train' is not prepared.*mixture\.facts"):
        list(estimate_stages(unknown))
    known = replace(mixture, facts={"nobody/knows-train": SourceFacts(hours=1.0, clips=600)})
    recipe = replace(small, stages={"pretrain": replace(small.stages["pretrain"], mixture=known)})
    assert next(estimate_stages(recipe)).leaves[0].hours == pytest.approx(1.0)


@pytest.mark.parametrize("is_prepared", [True, False])
def test_a_pooling_projector_is_planned_with_fewer_tokens(small, is_prepared, tmp_path):
    stage = small.stages["pretrain"]
    if not is_prepared:
        sources = {source for of_task in stage.mixture.sources.values() for source in of_task}
        facts = {source: SourceFacts(hours=1.0, clips=600) for source in sources}
        stage = replace(stage, mixture=replace(stage.mixture, facts=facts))
    recipe = replace(small, stages={"pretrain": stage})
    if not is_prepared:
        recipe = replace(recipe, data_dir=str(tmp_path))
    pooled = replace(recipe, model=replace(recipe.model, projector=ProjectorConfig("pooled", 5)))
    (many,), (few,) = estimate_stages(recipe), estimate_stages(pooled)
    for leaf, pooled_leaf in zip(many.leaves, few.leaves, strict=True):
        assert leaf.is_measured == is_prepared
        assert pooled_leaf.mean_tokens < leaf.mean_tokens - 5
    for example, pooled_example in zip(many.examples, few.examples, strict=True):
        assert pooled_example.num_audio_tokens == pytest.approx(example.num_audio_tokens / 5, abs=1)


def test_limited_rows_are_shown_and_counted_in_epochs(small):
    stage = small.stages["pretrain"]
    mixture = replace(stage.mixture, max_rows={"synthetic/notes-train": 4})
    recipe = replace(small, stages={"pretrain": replace(stage, mixture=mixture)})
    (estimate,) = estimate_stages(recipe)
    notes = next(leaf for leaf in estimate.leaves if leaf.task == "mna")
    assert (notes.clips, notes.all_clips) == (4, 12)
    assert notes.passes == notes.expected_clips / 4
    output = io.StringIO()
    print_estimates([estimate], Console(width=200, file=output))
    assert "max_rows: 4 of 12 rows of synthetic/notes-train under mna" in output.getvalue()


def test_rows_of_absent_sources_are_limited_too():
    recipe = load_recipe("qwen_audio").recipe
    stage = recipe.stages["pretrain"]
    source = stage.mixture.sources["asr"][0]
    limited = replace(stage, mixture=replace(stage.mixture, max_rows={source: 1000}))
    before, after = (
        next(
            leaf
            for leaf in next(estimate_stages(replace(recipe, stages={"pretrain": each}))).leaves
            if leaf.task == "asr"
        )
        for each in (stage, limited)
    )
    assert after.clips == 1000
    assert after.all_clips == before.clips
    assert after.expected_clips == before.expected_clips
