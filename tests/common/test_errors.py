from audio_lm.common.errors import CheckpointError, DataError, RecipeError, UserError, missing_extra, unknown


def test_all_error_classes_are_user_errors():
    assert all(issubclass(kind, UserError) for kind in (RecipeError, DataError, CheckpointError))


def test_an_unknown_name_is_answered_with_the_closest_or_with_all_names():
    assert "Did you mean 'asr'?" in unknown("task", "ars", ["asr", "lid"], see="x")
    assert "Known: asr, lid." in unknown("task", "zzzz", ["lid", "asr"], see="x")


def test_the_error_for_a_missing_package_names_the_install_command():
    assert "pip install 'audio-lm[speech]'" in str(
        missing_extra("espeakng-loader", extra="speech", purpose="Speech")
    )
