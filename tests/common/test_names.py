import pytest

from audio_lm.common.errors import RecipeError
from audio_lm.common.names import check_name, check_path, is_name

UNSAFE = [
    "",
    ".",
    "..",
    "../x",
    "../../../x",
    "/x",
    "a/../b",
    "a\\b",
    "a\0b",
    ".hidden",
    "a/",
    "a.",
    "a ",
    " a",
    "x" * 300,
    "a\nb",
    "~",
]


@pytest.mark.parametrize("name", UNSAFE)
def test_a_name_that_could_leave_the_folder_is_refused(name):
    assert not is_name(name)
    with pytest.raises(RecipeError, match=r"stage .*a name starts with"):
        check_name("stage", name)


@pytest.mark.parametrize(
    "name",
    [
        "pretrain",
        "all-train",
        "dev.other",
        "a b",
        "_x",
        "1st",
        "me@host",
        "qwen2+",
        "\u9636\u6bb5",
        "x" * 120,
    ],
)
def test_usual_names_are_accepted(name):
    check_name("stage", name)


def test_a_path_of_names_has_any_number_of_them():
    check_path("benchmark", "librispeech/dev-other")
    check_path("benchmark", "digits")
    with pytest.raises(RecipeError, match="benchmark"):
        check_path("benchmark", "a/../b")
