from audio_lm.common.errors import CheckpointError, DataError, RecipeError, UserError, missing_extra, unknown


def test_every_kind_is_the_users():
    assert all(issubclass(kind, UserError) for kind in (RecipeError, DataError, CheckpointError))


def test_a_near_miss_is_answered_with_the_name_and_a_far_one_with_all():
    assert "Did you mean 'asr'?" in unknown("task", "ars", ["asr", "lid"], see="x")
    assert "Known: asr, lid." in unknown("task", "zzzz", ["lid", "asr"], see="x")


def test_a_missing_package_says_how_to_install_it():
    assert "pip install 'audio-lm[speech]'" in str(
        missing_extra("espeakng-loader", extra="speech", purpose="Speech")
    )
