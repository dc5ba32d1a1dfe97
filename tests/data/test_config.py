import pytest

from audio_lm.common.errors import RecipeError
from audio_lm.data.config import MixtureConfig, OnlineConfig

SOURCES = {"asr": ["a/a-train"], "mna": ["a/b-train"], "sec": ["a/c-train"]}
WEIGHTS = {"asr": 2.0, "mna": 1.0, "sec": 1.0}


@pytest.mark.parametrize(
    ("online", "more", "message"),
    [
        (
            {"min_share": {"ars": 0.1}},
            {},
            r"min_share: \['ars'\] are not drawn; expected \['asr', 'mna', 'sec'\]",
        ),
        (
            {"max_share": {"sec": 0.1}},
            {"weights": WEIGHTS | {"sec": 0.0}},
            r"max_share: \['sec'\] are not drawn",
        ),
        (
            {"min_share": {"all": 0.4}},
            {},
            r"min_share sums to 1\.2 .* over 3 tasks; the first must be 1 or less",
        ),
        ({"max_share": {"all": 0.3}}, {}, r"max_share to 0\.9 .* the second 1 or more"),
        (
            {"min_share": {"asr": 0.5}, "max_share": {"asr": 0.4}},
            {},
            r"min_share is over max_share for \['asr'\]",
        ),
        ({}, {"schedule": {"asr": [[0, 1]]}}, r"\['asr'\] have a `schedule` as well"),
        ({}, {"weights": {"asr": 1.0, "mna": 0.0, "sec": 0.0}}, "only asr is drawn, so no share can change"),
    ],
)
def test_adapted_shares_that_cannot_be_are_refused(online, more, message):
    with pytest.raises(RecipeError, match=message):
        MixtureConfig(**{"sources": SOURCES, "weights": WEIGHTS, "online": OnlineConfig(**online), **more})


def test_bounds_of_all_hold_for_tasks_without_their_own():
    online = OnlineConfig(min_share={"all": 0.1, "asr": 0.3}, max_share={"mna": 0.5})
    assert online.bounds(["asr", "mna", "sec"]) == ([0.3, 0.1, 0.1], [1.0, 0.5, 1.0])


def test_data_workers_must_not_read_further_ahead_than_shares_are_decided():
    OnlineConfig(lead_steps=6).check_lead(2)
    with pytest.raises(
        RecipeError, match=r"lead_steps is 6, and hardware\.num_workers=3 reads 8 steps ahead"
    ):
        OnlineConfig(lead_steps=6).check_lead(3)


def test_rules_keep_the_tasks_that_remain_or_are_dropped():
    online = OnlineConfig(min_share={"asr": 0.3, "sec": 0.2}, max_share={"mna": 0.5})
    assert online.only(["mna", "sec"]) == OnlineConfig(min_share={"sec": 0.2}, max_share={"mna": 0.5})
    assert online.only(["asr"]) is None
