import pytest

from audio_lm.common.errors import RecipeError
from audio_lm.training.objective_config import DpoConfig, GrpoConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label_smoothing": 0.1}, "label_smoothing is 0.1 and dpo.loss is sigmoid"),
        ({"loss": "robust"}, "robust and dpo.label_smoothing is 0"),
        ({"loss": "ipo", "length_normalised": True}, "has no effect with loss: ipo"),
    ],
)
def test_a_loss_with_a_setting_without_effect_is_refused(settings, message):
    with pytest.raises(RecipeError, match=message):
        DpoConfig(**settings)


@pytest.mark.parametrize(
    ("rewards", "message"),
    [
        ({}, "expected rewards with weights"),
        ({"acc": 0.0}, "expected rewards with weights"),
        ({"aas": 1.0}, "measured in ms"),
        ({"accc": 1.0}, "Did you mean 'acc'"),
    ],
)
def test_rewards_are_metrics_between_zero_and_one(rewards, message):
    with pytest.raises(RecipeError, match=message):
        GrpoConfig(rewards)
