import pytest

from audio_lm.common.errors import UserError
from audio_lm.web.limits import MAX_FILES, MIB, Limits


def test_a_limit_is_positive():
    with pytest.raises(UserError, match=r"limit seconds 0 -- expected a positive number"):
        Limits(seconds=0)


def test_a_request_holds_all_files_of_a_message():
    assert Limits(upload_mib=2).body_bytes == MAX_FILES * 2 * MIB + MIB


def test_files_over_30_s_are_accepted_where_a_rule_shortens_them():
    assert Limits(seconds=120).clip_seconds == 30
    assert Limits(seconds=10).clip_seconds == 10
    assert Limits(seconds=120, long_audio="chunk").clip_seconds == 120
