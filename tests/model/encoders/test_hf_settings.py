import pytest

from audio_lm.common.errors import RecipeError
from audio_lm.model.config import EncoderConfig
from audio_lm.model.encoders.hf_settings import speech_settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"architecture": "wavelm"}, r"unknown speech encoder 'wavelm'\. Did you mean 'wavlm'"),
        ({"settings": {"hiden_size": 3}}, r"Did you mean 'hidden_size'"),
        ({"settings": {"add_adapter": True}}, r"add_adapter"),
    ],
)
def test_unknown_or_unsupported_settings_are_refused(settings, message):
    with pytest.raises(RecipeError, match=message):
        speech_settings(EncoderConfig(kind="transformers", **settings))
    with pytest.raises(RecipeError, match="does not read"):
        EncoderConfig(settings={"hidden_size": 3})


@pytest.mark.parametrize("settings", [{"dtype": "eval"}, {"model_type": "x"}])
def test_settings_that_transformers_rejects_are_refused(settings):
    with pytest.raises(RecipeError, match=r"encoder.settings do not make a wavlm"):
        speech_settings(EncoderConfig(kind="transformers", architecture="wavlm", settings=settings))
