import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.common.errors import RecipeError
from audio_lm.data.config import MixtureConfig, TemperatureConfig
from audio_lm.data.mixture.weights import (
    RAMP_PIECES,
    MixtureSource,
    clip_shares,
    max_examples,
    piecewise_weights,
)

SOURCES = {"asr": ["a/big-train", "a/small-train"], "sgc": ["a/small-train"], "mna": ["b/notes-train"]}
MIXTURE_SOURCES = [
    MixtureSource("asr", "a/big-train", num_rows=900, mean_seconds=10.0, mean_tokens=300.0),
    MixtureSource("asr", "a/small-train", num_rows=100, mean_seconds=5.0, mean_tokens=150.0),
    MixtureSource("sgc", "a/small-train", num_rows=100, mean_seconds=5.0, mean_tokens=130.0),
    MixtureSource("mna", "b/notes-train", num_rows=50, mean_seconds=1.0, mean_tokens=40.0),
]
WEIGHTS = {"asr": 2.0, "sgc": 1.0, "mna": 1.0}


def config(**settings):
    return MixtureConfig(sources=SOURCES, weights=WEIGHTS, **settings)


def shares(given, **more):
    return clip_shares(given, MIXTURE_SOURCES, **{"weights": WEIGHTS, **more})


def test_weights_of_clips_are_shares_of_clips():
    assert shares(config()) == pytest.approx([0.45, 0.05, 0.25, 0.25])


@pytest.mark.parametrize(("counts", "unit"), [("seconds", "mean_seconds"), ("tokens", "mean_tokens")])
def test_weights_of_seconds_and_tokens_are_shares_of_them(counts, unit):
    found = shares(config(weight_by=counts))
    amounts = [share * getattr(source, unit) for share, source in zip(found, MIXTURE_SOURCES, strict=True)]
    of_task = {"asr": amounts[0] + amounts[1], "sgc": amounts[2], "mna": amounts[3]}
    for task, weight in WEIGHTS.items():
        assert of_task[task] / sum(amounts) == pytest.approx(weight / 4)
    assert amounts[0] / amounts[1] == pytest.approx(
        900 * getattr(MIXTURE_SOURCES[0], unit) / (100 * getattr(MIXTURE_SOURCES[1], unit))
    )


def test_temperature_of_each_level_matches_a_manual_computation():
    # tasks: 2, 1, 1 under temperature 2 are 1.414, 1, 1; sources: 900, 100 under 2 are 30, 10
    found = shares(config(temperature=TemperatureConfig(tasks=2.0, sources=2.0)))
    asr = 2**0.5 / (2**0.5 + 2)
    assert found == pytest.approx([asr * 0.75, asr * 0.25, (1 - asr) / 2, (1 - asr) / 2])


def test_groups_get_their_shares_before_their_tasks():
    grouped = config(
        groups={"speech": ["asr", "sgc"], "music": ["mna"]}, group_weights={"speech": 1.0, "music": 3.0}
    )
    assert shares(grouped) == pytest.approx([0.25 * 2 / 3 * 0.9, 0.25 * 2 / 3 * 0.1, 0.25 / 3, 0.75])
    unweighted = config(groups={"speech": ["asr", "sgc"], "music": ["mna"]})
    assert shares(unweighted) == pytest.approx(shares(config()))


def test_sources_may_have_weights_of_their_own():
    found = shares(config(source_weights={"a/big-train": 1.0, "a/small-train": 3.0}))
    assert found == pytest.approx([0.125, 0.375, 0.25, 0.25])


def test_the_share_of_a_closed_source_goes_to_its_siblings_and_then_to_other_tasks():
    assert shares(config(), closed={0}) == pytest.approx([0, 0.5, 0.25, 0.25])
    assert shares(config(), closed={0, 1}) == pytest.approx([0, 0, 0.5, 0.5])
    with pytest.raises(RecipeError, match="max_epochs"):
        shares(config(), closed={0, 1, 2, 3})


def test_text_only_sources_cannot_be_weighted_by_seconds():
    text = [MixtureSource("asr", "a/big-train", 10, 0.0, 20.0)]
    with pytest.raises(RecipeError, match="text only"):
        clip_shares(config(weight_by="seconds"), text, weights=WEIGHTS)


def test_caps_apply_to_one_source_or_to_all_others():
    capped = config(max_epochs={"a/big-train": 2, "all": 0.5})
    assert [max_examples(capped, source) for source in MIXTURE_SOURCES] == [1800, 50, 50, 25]
    assert max_examples(config(), MIXTURE_SOURCES[0]) is None


def test_a_schedule_is_linear_between_its_points_and_constant_outside():
    scheduled = config(schedule={"asr": [[10, 0.0], [20, 1.0]]})
    found = piecewise_weights(scheduled, steps=40)
    assert found[0] == (0, {"asr": 0.0, "sgc": 1.0, "mna": 1.0})
    assert [step for step, _ in found] == [0, *range(11, 21)]
    assert [weights["asr"] for _, weights in found[1:]] == pytest.approx([step / 10 for step in range(1, 11)])


def test_two_points_at_one_step_are_a_jump():
    found = piecewise_weights(config(schedule={"mna": [[5, 1.0], [5, 4.0]]}), steps=9)
    assert [(step, weights["mna"]) for step, weights in found] == [(0, 1.0), (5, 4.0)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": {"asr": 1.0}}, "no weight for"),
        ({"weights": {"asr": -1.0, "sgc": 1.0, "mna": 1.0}}, "0 or more"),
        ({"groups": {"speech": ["asr"]}}, "in no group"),
        ({"groups": {"speech": ["asr", "sgc", "mna", "asr"]}}, "in several"),
        ({"group_weights": {"sounds": 1.0}}, "no groups"),
        ({"source_weights": {"c/none-train": 1.0}}, "in no task"),
        ({"max_epochs": {"a/big-train": 0.0}}, "leave the source out"),
        ({"schedule": {"asr": [[5, 1.0], [2, 1.0]]}}, "order of steps"),
        ({"schedule": {"ser": [[5, 1.0]]}}, "have no weight"),
    ],
)
def test_inconsistent_settings_are_refused(settings, message):
    with pytest.raises(RecipeError, match=message):
        MixtureConfig(**{"sources": SOURCES, "weights": WEIGHTS, **settings})


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(RecipeError, match="temperature"):
        TemperatureConfig(tasks=0.0)


def test_sources_without_any_weight_are_refused():
    with pytest.raises(RecipeError, match=r"are 0 for \['a/small-train'\]"):
        shares(config(source_weights={"a/small-train": 0.0}), weights={"asr": 0.0, "sgc": 1.0, "mna": 0.0})


POINTS = st.lists(st.tuples(st.integers(0, 60), st.floats(0, 5)), min_size=1, max_size=4).map(sorted)


@given(POINTS, st.integers(2, 70))
def test_weights_of_a_schedule_are_those_of_numpy_at_every_step(points, steps):
    """Pieces of one step are exact, longer ones within half of a piece's slope."""
    weighted = config(schedule={"asr": [list(point) for point in points]})
    found = piecewise_weights(weighted, steps=steps)
    assert [first for first, _ in found] == sorted({first for first, _ in found})
    assert found[0][0] == 0
    for step in range(steps):
        weights = [weights for first, weights in found if first <= step][-1]
        assert (weights["sgc"], weights["mna"]) == (1.0, 1.0)
        at = [point for point in points if point[0] == step]
        if len(at) < 2:  # elsewhere a jump
            expected = np.interp(step, *zip(*points, strict=True))
            slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.pairwise(points) if b[0] > a[0]]
            is_exact = all(b[0] - a[0] <= RAMP_PIECES for a, b in itertools.pairwise(points))
            error = 1e-9 if is_exact else max(map(abs, slopes), default=0) + 1e-9
            assert weights["asr"] == pytest.approx(expected, abs=error), step


AMOUNTS = st.floats(0.1, 100)


@given(
    st.lists(AMOUNTS, min_size=3, max_size=3),
    st.tuples(AMOUNTS, AMOUNTS),
    st.tuples(*[st.floats(0.5, 4)] * 3),
    st.sampled_from(["clips", "seconds", "tokens"]),
)
def test_shares_are_products_of_powers_of_weights_at_each_level(weights, of_groups, temperatures, unit):
    groups = {"speech": ["asr", "sgc"], "music": ["mna"]}
    over_groups, over_tasks, over_sources = temperatures
    given = MixtureConfig(
        sources=SOURCES,
        weights=(weight_of := dict(zip(WEIGHTS, weights, strict=True))),
        groups=groups,
        group_weights=dict(zip(groups, of_groups, strict=True)),
        temperature=TemperatureConfig(groups=over_groups, tasks=over_tasks, sources=over_sources),
        weight_by=unit,
    )

    def share(value, of, temperature):
        return value ** (1 / temperature) / sum(each ** (1 / temperature) for each in of)

    amounts = []
    for source in MIXTURE_SOURCES:
        group = "music" if source.task == "mna" else "speech"
        sizes = [one.num_rows * one.unit(unit) for one in MIXTURE_SOURCES if one.task == source.task]
        amounts.append(
            share(given.group_weights[group], of_groups, over_groups)
            * share(weight_of[source.task], [weight_of[task] for task in groups[group]], over_tasks)
            * share(source.num_rows * source.unit(unit), sizes, over_sources)
        )
    clips = [amount / source.unit(unit) for amount, source in zip(amounts, MIXTURE_SOURCES, strict=True)]
    found = clip_shares(given, MIXTURE_SOURCES, weights=weight_of)
    assert sum(found) == pytest.approx(1)
    assert found == pytest.approx([each / sum(clips) for each in clips])
