import pytest

from audio_lm.common.errors import RecipeError
from audio_lm.corpora.fsdd import FsddSettings
from audio_lm.corpora.settings import parse_settings
from audio_lm.corpora.synthetic.settings import SyntheticSettings


def test_missing_settings_keep_their_defaults():
    assert parse_settings(FsddSettings, "fsdd", {"seed": 7}) == FsddSettings(seed=7)
    assert parse_settings(FsddSettings, "fsdd", {"max_speed_change": 0}) == FsddSettings(max_speed_change=0)


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (FsddSettings, {"held_ot": "theo"}, "Did you mean 'held_out'"),
        (FsddSettings, {"strings": "many"}, r"corpora.x.strings is 'many' -- expected int"),
        (FsddSettings, {"strings": True}, "corpora.x.strings is True"),
        (FsddSettings, {"test_clips": -1}, "corpora.x.test_clips is -1"),
        (SyntheticSettings, {"clips": 3}, "expected a table of numbers"),
        (SyntheticSettings, {"clips": {"digits": 1.5}}, r"corpora.x.clips.digits is 1.5"),
    ],
)
def test_the_error_for_a_wrong_setting_names_it(kind, given, message):
    with pytest.raises(RecipeError, match=message):
        parse_settings(kind, "x", given)
