import json
from collections import Counter

import pytest

from audio_lm.common.errors import RecipeError
from audio_lm.common.rng import random_for
from audio_lm.data.config import MixtureConfig, OnlineConfig
from audio_lm.data.mixture.online import OnlinePath, known_segments, rules_in_fingerprint
from audio_lm.data.mixture.packing import PackingRules
from audio_lm.data.mixture.schedule import Cursor, PackSchedule, segments_of, window_length
from audio_lm.data.mixture.segments import SegmentHistory
from audio_lm.data.mixture.weights import MixtureSource

RULES = PackingRules(packs=2, max_tokens=400)
STEPS = 60
SOURCES = [
    MixtureSource("asr", "a/a-train", 70, 4.0, 50.0),
    MixtureSource("asr", "a/b-train", 40, 4.0, 50.0),
    MixtureSource("mna", "m/c-train", 90, 2.0, 30.0),
]
ONLINE = OnlineConfig(every=6, lead_steps=4, warmup_steps=10, min_share={"all": 0.1}, max_share={"asr": 0.8})


def config_of(online=ONLINE, **settings):
    sources = {"asr": ["a/a-train", "a/b-train"], "mna": ["m/c-train"]}
    return MixtureConfig(sources=sources, weights={"asr": 1, "mna": 3}, online=online, **settings)


class Drawn:
    num_choices = 1

    def __init__(self, source):
        low = int(source.mean_tokens) - 10
        self.table = random_for("lengths", source.source).integers(low, low + 21, size=(source.num_rows, 1))

    def of(self, rows, choices):
        return self.table[rows, choices]


def path_of(config, plan=None):
    """Path of a stage from its start, or from the plan of a checkpoint."""
    if plan is None:
        segments, end = segments_of(config, SOURCES, RULES, steps=STEPS)
        window = window_length([1 / 8, 1 / 8, 3 / 4], SOURCES, RULES, steps=config.online.every)
        names = tuple(f"{source.task} {source.source}" for source in SOURCES)
        history = SegmentHistory(window, names, ("1", "2", "3"), tuple(segments), end)
    else:
        history = SegmentHistory.from_json(json.loads(json.dumps(plan)))
    schedule = PackSchedule(
        history.names, [source.num_rows for source in SOURCES], [Drawn(source) for source in SOURCES],
        history.segments, RULES, window=history.window, seed=0,
    )  # fmt: skip
    return OnlinePath(config, SOURCES, schedule, history, steps=STEPS)


def losses_at(step):
    rng = random_for("losses", step)
    return {"asr": round(float(rng.uniform(0, 3)), 3), "mna": round(float(rng.uniform(0, 1)), 3)}


def train(path, *, cursor=None, step=0, until=STEPS, ahead=1):
    """Steps of a stage whose losses are random, read some steps ahead; returns cuts of each step and decisions."""
    taken, decisions = {}, []
    reader = path.schedule.steps(cursor or Cursor())
    read = []
    while step < until:
        while len(read) <= ahead:
            read.append(next(reader))
        cursor, packs = read.pop(0)
        step += 1
        taken[step] = [[(example.source, example.row) for example in pack] for pack in packs]
        if step == path.next_step:
            decisions.append(path.decide(losses_at(step)))
    return taken, decisions, cursor


def test_shares_of_a_window_are_decided_the_lead_before_its_first_step():
    path = path_of(config_of())
    taken, decisions, _ = train(path)
    assert [decision.from_step - decision.step for decision in decisions] == [4] * len(decisions)
    starts = [len(path.schedule.steps_of(0))]
    for window in range(1, 5):
        starts.append(starts[-1] + len(path.schedule.steps_of(window)))
    assert [decision.from_step for decision in decisions[:5]] == starts
    assert len(taken) == STEPS


def test_the_weights_hold_until_the_warm_up_ends_and_bounds_after_it():
    _, decisions, _ = train(path_of(config_of()))
    warm = [decision for decision in decisions if decision.step < 10]
    later = [decision for decision in decisions if decision.step >= 10]
    assert warm
    assert all(decision.shares == {"asr": 0.25, "mna": 0.75} for decision in warm)
    assert len({decision.shares["asr"] for decision in later}) == len(later)
    assert all(0.1 <= share <= 0.9 for decision in later for share in decision.shares.values())
    assert max(decision.shares["asr"] for decision in later) <= 0.8


def test_drawn_examples_follow_the_decided_shares():
    path = path_of(config_of())
    _, decisions, _ = train(path)
    window = path.schedule.window
    for decision in decisions:
        sources, _, _ = path.schedule.draws(decision.window * window, window)
        drawn = Counter(SOURCES[source].task for source in sources)
        assert abs(drawn["asr"] - decision.shares["asr"] * window) < 3
    sources, rows, _ = path.schedule.draws(0, window * (decisions[-1].window + 1))
    for source, of_source in enumerate(SOURCES):  # every epoch has every row once
        drawn = rows[sources == source].tolist()
        for at in range(0, len(drawn) - of_source.num_rows + 1, of_source.num_rows):
            assert sorted(drawn[at : at + of_source.num_rows]) == list(range(of_source.num_rows))


@pytest.mark.parametrize("stop", range(1, STEPS, 7))
def test_a_path_continues_from_any_step_as_if_it_had_not_stopped(stop):
    whole, decisions, _ = train(path_of(config_of()))
    path = path_of(config_of())
    first, early, cursor = train(path, until=stop, ahead=0)
    saved = json.loads(json.dumps([path.plan(), path.state()]))
    again = path_of(config_of(), saved[0])
    again.load_state(saved[1])
    second, late, _ = train(again, cursor=cursor, step=stop, ahead=2)
    assert first | second == whole
    assert [*early, *late] == decisions
    assert again.plan() == train_plan(config_of())


def train_plan(config):
    path = path_of(config)
    train(path)
    return path.plan()


def test_a_decision_is_a_function_of_the_logged_losses():
    _, decisions, _ = train(path_of(config_of()))
    replayed = path_of(config_of())
    assert [
        replayed.decide(json.loads(json.dumps(one.as_json()))["losses"]) for one in decisions
    ] == decisions
    assert replayed.decide({"asr": 3.0, "mna": 0.0}).metrics()["online_loss/asr"] == 3.0


def test_steps_that_are_read_before_their_shares_are_decided_are_an_error():
    train(path_of(config_of()), ahead=4)
    with pytest.raises(AssertionError, match="shares of window 1 are not decided"):
        train(path_of(config_of()), ahead=5)


def test_caps_hold_and_their_share_goes_to_the_other_sources():
    path = path_of(config_of(max_epochs={"a/a-train": 0.5}))
    _, decisions, _ = train(path)
    sources, _, _ = path.schedule.draws(0, path.schedule.window * path.window)
    drawn = Counter(sources.tolist())
    assert drawn[0] == 35
    assert drawn[1] > 35
    assert decisions[-1].shares["asr"] > 0.1


def test_a_stage_whose_sources_are_all_drawn_ends_with_a_sentence():
    path = path_of(config_of())
    path.caps = [60, 40, 300]  # the plan of the weights would have refused them
    with pytest.raises(RecipeError, match=r"reached max_epochs at step \d+ of 60"):
        train(path)


def test_groups_and_temperature_give_the_first_shares_and_do_not_act_again():
    config = config_of(groups={"speech": ["asr"], "music": ["mna"]}, group_weights={"speech": 3, "music": 1})
    path = path_of(config)
    _, decisions, _ = train(path)
    assert path.initial == {"asr": 0.75, "mna": 0.25}
    sources, _, _ = path.schedule.draws(decisions[-1].window * path.schedule.window, path.schedule.window)
    drawn = Counter(SOURCES[source].task for source in sources)
    assert abs(drawn["asr"] - decisions[-1].shares["asr"] * path.schedule.window) < 3


def test_rules_are_part_of_a_plan_and_segments_that_losses_decide_are_not():
    assert rules_in_fingerprint(config_of(None)) == ""
    texts = {
        rules_in_fingerprint(config)
        for config in (config_of(), config_of(OnlineConfig(every=7)), config_of(max_epochs={"all": 9}))
    }
    assert len(texts) == 3
    segments, _ = segments_of(config_of(max_epochs={"a/a-train": 0.5}), SOURCES, RULES, steps=STEPS)
    assert known_segments(config_of(), segments) == segments[:1]
    assert known_segments(config_of(None), segments) == segments
