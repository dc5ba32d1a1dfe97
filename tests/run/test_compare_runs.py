import pytest

from audio_lm.common.errors import UserError
from audio_lm.run.compare_runs import CLIPS, SEEDS, compare_runs
from tests.run.recorded_runs import record_run

LOWER = "stages.pretrain.parts.encoder.lr=5e-4"


@pytest.fixture(scope="module")
def arms(small_recipe, tmp_path_factory):
    """Three runs of the small recipe, and three with a lower rate, with seeds 1 to 3."""
    folder = tmp_path_factory.mktemp("arms")
    ours = [record_run(small_recipe, folder / f"a-{seed}", 30 + seed, f"seed={seed}") for seed in (1, 2, 3)]
    others = [
        record_run(small_recipe, folder / f"b-{seed}", 20 + seed, f"seed={seed}", LOWER) for seed in (1, 2, 3)
    ]
    return ours, others


def test_two_runs_show_their_settings_and_a_paired_interval_over_clips(arms):
    (ours, *_), (other, *_) = arms
    (found,) = compare_runs([ours, other])
    assert [(each.key, each.ours, each.other) for each in found.settings] == [
        ("stages.pretrain.parts.encoder.lr", 1e-3, 5e-4)
    ]
    (score,) = found.scores
    assert (score.kind, score.num_units, score.difference) == (CLIPS, 40, 0.25)
    assert 0 < score.interval[0] < 0.25 < score.interval[1] < 0.5
    assert score.verdict == "better"


def test_two_runs_that_differ_in_their_seed_only_are_compared_as_runs(arms):
    (found,) = compare_runs(arms[0][:2])
    assert [each.key for each in found.settings] == ["seed"]
    assert found.scores[0].verdict == "noise"


def test_seeds_are_paired_and_have_t_intervals(arms):
    ours, others = arms
    (found,) = compare_runs(ours, [*reversed(others)])
    assert [each.key for each in found.settings] == ["stages.pretrain.parts.encoder.lr"]
    (score,) = found.scores
    assert (score.ours.mean, score.other.mean) == (pytest.approx(0.8), pytest.approx(0.55))
    assert score.ours.half_width == pytest.approx(4.303 * 0.025 / 3**0.5, rel=1e-3)
    assert (score.kind, score.num_units) == (SEEDS, 3)
    # Each pair differs by 10 clips, so the differences do not vary although the scores do.
    assert score.interval == (pytest.approx(0.25), pytest.approx(0.25))
    assert score.verdict == "better"


def test_seeds_that_only_one_side_has_are_not_paired(arms):
    ours, others = arms
    (found,) = compare_runs(ours, others[:1])
    (score,) = found.scores
    assert (score.num_units, score.difference, score.interval, score.verdict) == (
        1,
        pytest.approx(0.25),
        None,
        "",
    )


def test_runs_are_grouped_by_their_settings_without_the_seed(arms, small_recipe, tmp_path):
    ours, others = arms
    third = record_run(small_recipe, tmp_path / "c-1", 5, "seed=1", "stages.chat.steps=4")
    found = compare_runs([*ours, third, *others])
    assert [len(each.other.runs) for each in found] == [1, 3]
    assert [len(each.ours.runs) for each in found] == [3, 3]
    assert found[1].scores == compare_runs(ours, others)[0].scores
    assert [each.key for each in found[0].settings] == ["stages.chat.steps"]


def test_settings_without_effect_on_the_weights_come_last_and_join_an_arm(arms, small_recipe, tmp_path):
    ours, others = arms
    moved = record_run(
        small_recipe, tmp_path / "a-4", 34, "seed=4", "data_dir=elsewhere", "+published.events.wer=1"
    )
    (found,) = compare_runs([*ours, moved], others)
    assert [run.seed for run in found.ours.runs] == [1, 2, 3, 4]
    (alone,) = compare_runs([others[0], moved])
    assert [each.affects_result for each in alone.settings] == sorted(
        (each.affects_result for each in alone.settings), reverse=True
    )
    assert {each.key for each in alone.settings if not each.affects_result} == {
        "data_dir",
        "published.events.wer",
    }


def test_a_table_that_one_run_lacks_is_one_setting(arms, small_recipe, tmp_path):
    fewer = record_run(
        small_recipe, tmp_path / "fewer", 20, "~stages.chat", "~evaluation.benchmarks.dialogues"
    )
    (found,) = compare_runs([arms[0][0], fewer])
    stage = next(each for each in found.settings if each.key == "stages.chat")
    assert (stage.ours["steps"], stage.other) == (3, "-")


@pytest.mark.parametrize(
    ("choose", "message"),
    [
        (lambda ours, others: (ours[:1], []), "1 run is no comparison"),
        (lambda ours, others: (ours[:1], ours[:1]), "is named twice"),
        (lambda ours, others: (ours, []), "differ in their seed only"),
        (lambda ours, others: ([*ours, others[0]], others[1:]), "differ in stages.pretrain.parts.encoder.lr"),
    ],
)
def test_runs_that_are_no_comparison_are_refused(arms, choose, message):
    with pytest.raises(UserError, match=message):
        compare_runs(*choose(*arms))


def test_two_runs_of_one_arm_with_the_same_seed_are_refused(arms, small_recipe, tmp_path):
    again = record_run(small_recipe, tmp_path / "again", 33, "seed=1")
    with pytest.raises(UserError, match="the same settings and the same seed"):
        compare_runs([*arms[0], again], arms[1])


def test_a_run_without_scores_is_refused_with_the_command_that_computes_them(arms, small_recipe, tmp_path):
    new = record_run(small_recipe, tmp_path / "new", None)
    with pytest.raises(UserError, match="audio-lm evaluate"):
        compare_runs([arms[0][0], new])
