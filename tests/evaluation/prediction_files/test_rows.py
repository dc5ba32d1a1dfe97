import pytest

from audio_lm.common.errors import DataError
from audio_lm.evaluation.prediction_files.rows import (
    FileRow,
    check_unique,
    choices_of,
    lettered_choices,
    required_text,
    text_field,
)


@pytest.mark.parametrize(
    "given", [["a", "b"], '["a", "b"]', "a | b", "(A) a\n(B) b", "Question? A. a\nB. b\n"]
)
def test_choices_are_read_in_several_forms(given):
    assert choices_of("f:1", given) == ("a", "b")


@pytest.mark.parametrize("given", ["one", "[broken", ["one"], 3])
def test_fewer_than_two_choices_are_refused(given):
    with pytest.raises(DataError, match=r"f:1: choices .* -- expected two or more"):
        choices_of("f:1", given)


def test_choices_of_a_prompt_are_the_last_list_from_a_on():
    assert lettered_choices("A. old\nB. older\nNow:\nA. x\nB. y\nC. z\nC. again") == ["x", "y", "z"]
    assert lettered_choices("B. y\nC. z") == []


def test_values_that_are_no_texts_are_written_as_json():
    assert text_field({"a": 3}, "a") == "3"
    assert text_field({"a": None}, "a") is None
    with pytest.raises(DataError, match="f:2: no 'a' -- expected one in every row"):
        required_text("f:2", {}, "a")


def test_a_duplicated_id_names_both_places():
    rows = [FileRow(f"f:{n}", "x", (), None) for n in (1, 2)]
    with pytest.raises(DataError, match="f:2: id 'x' is also that of f:1"):
        check_unique(rows)
