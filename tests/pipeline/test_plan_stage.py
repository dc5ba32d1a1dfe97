import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from audio_lm.common.audio_units import WHISPER
from audio_lm.common.errors import DataError
from audio_lm.data.examples import ExampleMaker
from audio_lm.data.manifest.cuts import manifest_path, num_samples_of
from audio_lm.data.mixture.schedule import Cursor, differences
from audio_lm.model.config import ProjectorConfig
from audio_lm.pipeline import plan_stage as plan_stage_module
from audio_lm.pipeline.plan_stage import (
    check_order,
    compile_index,
    compile_stage,
    maker_of,
    manifests_of,
    name_of,
    plan_stage,
    unreadable_cuts,
)


@pytest.fixture
def stage(small):
    return small.stages["pretrain"]


def test_a_stage_has_a_leaf_for_every_source_of_every_task(small, stage, small_sources):
    names = [name_of(leaf) for leaf in small_sources["pretrain"].training]
    expected = [f"{task} {source}" for task, sources in stage.mixture.sources.items() for source in sources]
    assert names == expected


def test_a_source_of_several_tasks_is_compiled_once(small, stage, monkeypatch):
    source = stage.mixture.sources["sec"][0]
    twice = replace(stage.mixture, sources={"sec": [source], "mna": [source]})
    sources = []
    monkeypatch.setattr(
        plan_stage_module, "compile_index", lambda *args: sources.append(args[-1]) or compile_index(*args)
    )
    first, second = compile_stage(small, replace(stage, mixture=twice)).training
    assert sources.count(source) == 1
    assert first.rows.index is second.rows.index


def test_a_plan_fills_its_packs_from_all_leaves(small, stage, small_sources, own_vocabulary):
    planned = plan_stage(small, stage, small_sources["pretrain"], own_vocabulary)
    steps = planned.plan.steps_of(0)
    turns = [turn for packs in steps for pack in packs for turn in pack]
    assert {turn.source for turn in turns} == set(range(len(planned.leaves)))
    tokens = sum(planned.plan.lengths[turn.source].table[turn.row, turn.choice] for turn in turns)
    assert 0.9 < tokens / (len(steps) * stage.pack_tokens) <= 1
    assert next(planned.plan.steps(Cursor()))[0] == Cursor(1, 0, 1)


def test_a_source_of_weight_0_is_not_compiled(small, stage):
    mixture = replace(stage.mixture, weights={"sec": 1.0, "mna": 0.0})
    sources = compile_stage(small, replace(stage, mixture=mixture))
    assert [leaf.task for leaf in sources.training] == ["sec"]


def test_a_conversation_over_the_budget_is_named_with_its_cut(small, stage, small_sources, own_vocabulary):
    with pytest.raises(DataError, match=r"cut '.*' of 'synthetic/.*' makes a conversation of \d+ tokens"):
        plan_stage(small, replace(stage, pack_tokens=20), small_sources["pretrain"], own_vocabulary)


def budget_between(small, stage, sources, vocabulary):
    """A budget that some conversations of every leaf are over, and how many are not."""
    lengths = plan_stage(small, stage, sources, vocabulary).lengths
    longest = [of_leaf.table.max(axis=1) for of_leaf in lengths]
    budget = int(min(of_leaf.max() for of_leaf in longest)) - 1
    return budget, [int((of_leaf <= budget).sum()) for of_leaf in longest]


@pytest.mark.parametrize("rule", ["error", "truncate", "chunk"])
def test_rules_for_long_audio_do_not_shorten_conversations(small, stage, small_sources, own_vocabulary, rule):
    budget, _ = budget_between(small, stage, small_sources["pretrain"], own_vocabulary)
    short = replace(stage, pack_tokens=budget, long_audio=rule)
    with pytest.raises(DataError, match=rf"over pack_tokens={budget}, as \d+ of 12 do; .*long_audio=drop"):
        plan_stage(small, short, small_sources["pretrain"], own_vocabulary)


def test_conversations_over_the_budget_are_dropped_with_long_audio_drop(
    small, stage, small_sources, own_vocabulary
):
    sources = small_sources["pretrain"]
    budget, kept = budget_between(small, stage, sources, own_vocabulary)
    planned = plan_stage(
        small, replace(stage, pack_tokens=budget, long_audio="drop"), sources, own_vocabulary
    )
    assert [leaf.num_rows for leaf in planned.leaves] == kept
    assert all(0 < count < 12 for count in kept)
    maker = ExampleMaker(own_vocabulary, stage.prompt)
    for leaf, whole, lengths in zip(planned.loaded, sources.training, planned.lengths, strict=True):
        assert 0 < lengths.table.max() <= budget
        for row in range(len(leaf.rows)):
            cut = pickle.loads(pickle.dumps(leaf.rows)).cut(row)
            assert cut.to_dict() == whole.rows.cut(int(leaf.rows.kept[row])).to_dict()
            assert len(maker.example(cut, leaf.task)) == lengths.table[row, 0]
            assert sum(num_samples_of(cut)) == leaf.rows.num_samples[row]
    of_window = planned.plan.steps_of(0)
    rows = {(turn.source, turn.row) for packs in of_window for pack in packs for turn in pack}
    assert rows == {(leaf, row) for leaf, count in enumerate(kept) for row in range(count)}
    with pytest.raises(DataError, match="as 12 of 12 do"):
        plan_stage(small, replace(stage, pack_tokens=20, long_audio="drop"), sources, own_vocabulary)


def test_another_order_is_refused_by_name(small, stage, small_sources, own_vocabulary):
    known = plan_stage(small, stage, small_sources["pretrain"], own_vocabulary).fingerprint
    changed = plan_stage(
        replace(small, seed=5), replace(stage, pack_tokens=320), small_sources["pretrain"], own_vocabulary
    ).fingerprint
    check_order(known, dict(known), stage="pretrain")
    with pytest.raises(DataError, match=r"'pretrain' cannot resume: pack_tokens, seed.* changed"):
        check_order(known, changed, stage="pretrain")


@pytest.fixture
def own_copy(small, tmp_path):
    """The small recipe over a copy of its manifests, which a test may edit."""
    shutil.copytree(small.data_dir, tmp_path / "data", ignore=shutil.ignore_patterns(".index", "audio"))
    return replace(small, data_dir=str(tmp_path / "data"))


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({}, []),
        ({"packs_per_step": 2}, ["packs_per_step"]),
        ({"pack_tokens": 320}, ["pack_tokens"]),
        ({"global_batch": 4}, ["global_batch"]),
        ({"prompt": "natural"}, ["wording"]),
        ({"weights": {"sec": 2, "mna": 1}}, ["shares"]),
        ({"seed": 5}, ["seed"]),
        ({"manifest": "synthetic/events-train"}, ["source sec synthetic/events-train"]),
    ],
    ids=lambda value: next(iter(value), "nothing") if isinstance(value, dict) else "",
)
def test_every_change_of_the_order_is_refused_by_name(own_copy, own_vocabulary, changed, named):
    def known(recipe, **more):
        stage = replace(recipe.stages["pretrain"], **more)
        return plan_stage(recipe, stage, compile_stage(recipe, stage), own_vocabulary).fingerprint

    before, recipe, more = known(own_copy), own_copy, dict(changed)
    if "seed" in more:
        recipe = replace(recipe, seed=more.pop("seed"))
    if "weights" in more:
        more["mixture"] = replace(recipe.stages["pretrain"].mixture, weights=more.pop("weights"))
    if source := more.pop("manifest", ""):
        path = manifest_path(Path(recipe.data_dir), source)
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    now = known(recipe, **more)
    assert set(named) <= set(differences(before, now))
    if not named:
        check_order(before, now, stage="pretrain")
    for name in named:
        with pytest.raises(DataError, match=f"cannot resume: .*{name}.* changed since it started"):
            check_order(before, now, stage="pretrain")


def test_readable_audio_is_not_reported(small_sources):
    assert unreadable_cuts(small_sources["pretrain"].training) == {}


def test_a_pooling_projector_shortens_conversations(small, stage, small_sources, own_vocabulary):
    pooled = replace(small, model=replace(small.model, projector=ProjectorConfig("pooled", 4)))
    many, few = (
        plan_stage(recipe, stage, small_sources["pretrain"], own_vocabulary) for recipe in (small, pooled)
    )
    assert [leaf.mean_tokens for leaf in few.leaves] < [leaf.mean_tokens for leaf in many.leaves]
    assert few.fingerprint != many.fingerprint
    again = plan_stage(small, stage, small_sources["pretrain"], own_vocabulary)
    assert [leaf.mean_tokens for leaf in again.leaves] == [leaf.mean_tokens for leaf in many.leaves]


def test_the_example_maker_counts_audio_tokens_as_the_model(small, own_vocabulary):
    pooled = replace(small, model=replace(small.model, projector=ProjectorConfig("stacked", 5)))
    assert maker_of(pooled, own_vocabulary, "tags").token_count.tokens_per_second == 5
    assert maker_of(small, own_vocabulary, "tags").token_count == WHISPER


def test_manifests_have_hours_cuts_and_a_context(small):
    manifests = {manifest.name: manifest for manifest in manifests_of(small)}
    assert manifests["synthetic/events-train"].context == "train"
    assert manifests["synthetic/events-test"].context == "test"
    assert manifests["synthetic/events-train"].num_cuts == 12
    assert manifests["synthetic/events-train"].hours > 0


def plan_of_limited(recipe, vocabulary, sources, *, seed=0, **mixture):
    stage = recipe.stages["pretrain"]
    stage = replace(stage, mixture=replace(stage.mixture, **mixture))
    return plan_stage(replace(recipe, seed=seed), stage, sources["pretrain"], vocabulary)


def rows_of(planned, number=0):
    rows = planned.loaded[number].rows
    return [rows.cut(row).id for row in range(len(rows))]


def test_max_rows_leaves_a_seeded_choice_of_rows(small, small_sources, own_vocabulary):
    source = "synthetic/events-train"
    five, seven, other, whole = (
        plan_of_limited(small, own_vocabulary, small_sources, seed=seed, max_rows=limits)
        for limits, seed in (({source: 5}, 0), ({source: 7}, 0), ({source: 5}, 1), ({}, 0))
    )
    assert len(rows_of(five)) == 5
    assert set(rows_of(five)) < set(rows_of(seven)) < set(rows_of(whole))
    assert set(rows_of(five)) != set(rows_of(other))
    assert rows_of(five, 1) == rows_of(whole, 1), "other sources keep their rows"
    turns = [turn for packs in five.plan.steps_of(0) for pack in packs for turn in pack if turn.source == 0]
    assert {turn.row for turn in turns} == set(range(5))
    lengths = dict(zip(rows_of(whole), whole.lengths[0].table[:, 0], strict=True))
    assert [lengths[cut] for cut in rows_of(five)] == five.lengths[0].table[:, 0].tolist()


def test_max_rows_changes_repetition_and_not_shares(small, small_sources, own_vocabulary):
    source = "synthetic/events-train"
    limited, whole = (
        plan_of_limited(small, own_vocabulary, small_sources, max_rows=limits) for limits in ({source: 3}, {})
    )
    assert limited.history.segments == whole.history.segments
    assert limited.leaves[0].num_rows == 3
    assert limited.leaves[0].all_rows == whole.leaves[0].num_rows == 12
    assert (
        plan_of_limited(small, own_vocabulary, small_sources, max_rows={source: 12}).loaded[0].all_rows
        is None
    )


def test_a_task_shared_by_two_sources_keeps_their_shares_under_max_rows(small, own_vocabulary):
    stage = small.stages["pretrain"]
    sources = {"sec": ["synthetic/events-train", "synthetic/events-validation"]}
    mixture = replace(stage.mixture, sources=sources, weights={"sec": 1.0})
    shares = []
    for limits in ({}, {"synthetic/events-train": 2}):
        changed = replace(stage, mixture=replace(mixture, max_rows=limits))
        planned = plan_stage(small, changed, compile_stage(small, changed), own_vocabulary)
        shares.append(planned.history.segments[0].shares)
    assert shares[0] == shares[1] == (4, 1), "12 rows and 3"


def test_changed_max_rows_are_a_changed_source(small, stage, small_sources, own_vocabulary):
    source = "synthetic/events-train"
    saved, now = (
        plan_of_limited(small, own_vocabulary, small_sources, max_rows={source: limit}).fingerprint
        for limit in (5, 6)
    )
    with pytest.raises(DataError, match=f"source sec {source}.* changed"):
        check_order(saved, now, stage="pretrain")
