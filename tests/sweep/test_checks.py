import pytest

from audio_lm.data.config import MixtureConfig
from audio_lm.sweep.checks import own_problems, share_of_tasks
from audio_lm.sweep.config import (
    BudgetConfig,
    DesignConfig,
    KeyConfig,
    MetricConfig,
    SharesConfig,
    SweepConfig,
    VaryConfig,
)

SHARES = SharesConfig("pretrain", ["asr", "aac"])
KEY = {"stages.pretrain.prompt": KeyConfig(values=["tags", "natural"])}


def problems(vary=None, metrics=None, given=(), **settings):
    config = SweepConfig(
        recipe="demo",
        vary=VaryConfig(shares=SHARES) if vary is None else vary,
        metrics={"val_loss/asr": MetricConfig()} if metrics is None else metrics,
        name=settings.pop("name", "small"),
        **settings,
    )
    return list(own_problems(config, given))


WRONG = {
    "nothing varied": ({"vary": VaryConfig()}, "vary", "nothing is varied"),
    "no metric": ({"metrics": {}}, "metrics", "no metric is watched"),
    "no objective": ({"metrics": {"a": MetricConfig(weight=0)}}, "metrics", "all weights are 0"),
    "two budgets": ({"budget": BudgetConfig(3, 4)}, "budget", "both set"),
    "a name with a slash": ({"name": "../x"}, "name", "rename it"),
    "trials of a grid": (
        {"design": DesignConfig("grid", trials=3), "given": ["design.trials"]},
        "design.trials",
        "has no effect with kind: grid",
    ),
    "points without a list": (
        {"design": DesignConfig(points=[{"asr": 1}]), "given": ["design.points"]},
        "design.points",
        "has no effect with kind: dirichlet; remove it, or set kind: list",
    ),
    "an empty list": ({"design": DesignConfig("list")}, "design.points", "is empty"),
    "an unknown name in a point": (
        {"design": DesignConfig("list", points=[{"asr": 1}, {"ars": 1}])},
        "design.points",
        "point 2: unknown task or group 'ars'. Did you mean 'asr'?",
    ),
    "an empty point": (
        {"design": DesignConfig("list", points=[{"asr": 0}])},
        "design.points",
        "no share above 0",
    ),
    "a fine grid": (
        {"design": DesignConfig("grid", divisions=1000), "vary": VaryConfig(SharesConfig("s", list("abcd")))},
        "design.divisions",
        "make 167,668,501 points",
    ),
    "no strength": ({"design": DesignConfig(strengths=[])}, "design.strengths", "is empty"),
    "values and range": (
        {"vary": VaryConfig(keys={"seed2": KeyConfig(values=[1], log_range=[1, 2])})},
        "vary.keys.seed2",
        "either values or log_range",
    ),
    "a repeated value": ({"vary": VaryConfig(keys={"a": KeyConfig(values=[1, 1])})}, "vary.keys.a", "repeat"),
    "a range in a grid": (
        {"vary": VaryConfig(keys={"a": KeyConfig(log_range=[1, 2])}), "design": DesignConfig("grid")},
        "vary.keys.a",
        "log_range has no points for kind: grid",
    ),
    "a key of the varied mixture": (
        {"vary": VaryConfig(SHARES, {"stages.pretrain.mixture.temperature.tasks": KeyConfig(values=[1, 2])})},
        "vary.keys.stages.pretrain.mixture.temperature.tasks",
        "is part of the mixture whose shares are varied",
    ),
    "a corpus": (
        {"vary": VaryConfig(keys={"corpora.a.seed": KeyConfig(values=[1, 2])})},
        "vary.keys.corpora.a.seed",
        "same in all",
    ),
    "steps beside a budget": (
        {
            "vary": VaryConfig(keys={"stages.s.steps": KeyConfig(values=[1, 2])}),
            "budget": BudgetConfig(steps=3),
        },
        "vary.keys.stages.s.steps",
        "is set by the budget",
    ),
}


@pytest.mark.parametrize(("settings", "key", "message"), WRONG.values(), ids=WRONG)
def test_a_setting_that_cannot_work_is_named(settings, key, message):
    found = problems(**settings)
    assert [one for one in found if one[0] == key and message in one[1]], found


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"design": DesignConfig("grid", divisions=10), "given": ["design.divisions"]},
        {"design": DesignConfig("list", points=[{"asr": 1}]), "given": ["design.points"]},
        {"design": DesignConfig("tpe", trials=5), "given": ["design.trials"]},
        {"vary": VaryConfig(SHARES, KEY)},
        {"vary": VaryConfig(keys=KEY), "design": DesignConfig("grid")},
    ],
)
def test_a_sweep_that_can_work_has_no_problem(settings):
    assert problems(**settings) == []


def test_the_share_of_tasks_is_part_of_the_whole_mixture():
    mixture = MixtureConfig({"asr": ["a/b-train"], "aac": ["a/c-train"]}, {"asr": 3.0, "aac": 1.0})
    assert share_of_tasks(mixture, ["asr"]) == pytest.approx(0.75)
