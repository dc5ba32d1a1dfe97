import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.tracking.report.word_diff import word_diff

texts = st.text(alphabet="ab <|>0.1\u4e03\u3044\uc77c,A", max_size=30)


def kinds(reference, answer):
    return tuple([piece.kind for piece in pieces] for pieces in word_diff(reference, answer))


@pytest.mark.parametrize(
    ("reference", "answer", "theirs", "ours"),
    [
        ("one two three", "one three", ["same", "missing", "same"], ["same", "same"]),
        ("one three", "one two three", ["same", "same"], ["same", "extra", "same"]),
        ("one two", "one ten", ["same", "wrong"], ["same", "wrong"]),
        ("a b", "b c", ["missing", "same"], ["same", "extra"]),
        ("One, two", "one two", ["near", "same"], ["near", "same"]),
        ("\u4e03\u4e09", "\u4e03\u4e00", ["same", "wrong"], ["same", "wrong"]),
        ("<|0.50|>she", "<|0.60|>she", ["near", "same"], ["near", "same"]),
        ("<|0.50|>she", "<|0.61|>she", ["wrong", "same"], ["wrong", "same"]),
        ("<|0.50|>", "she", ["missing"], ["extra"]),
        ("", "she", [], ["extra"]),
    ],
)
def test_each_word_is_marked_by_what_became_of_it(reference, answer, theirs, ours):
    assert kinds(reference, answer) == (theirs, ours)


@given(texts, texts)
def test_no_letter_is_lost_and_blanks_come_back(reference, answer):
    for text, pieces in zip((reference, answer), word_diff(reference, answer), strict=True):
        rebuilt = "".join(" " * piece.is_spaced + piece.text for piece in pieces)
        assert rebuilt.strip() == " ".join(text.split())


@given(texts, texts)
def test_both_sides_agree_on_what_stands_for_what(reference, answer):
    theirs, ours = kinds(reference, answer)
    for kind in ("same", "near", "wrong"):
        assert theirs.count(kind) == ours.count(kind)


@given(texts)
def test_a_right_answer_has_no_marks(text):
    theirs, ours = kinds(text, text)
    assert set(theirs) | set(ours) <= {"same"}


def test_an_endless_answer_does_not_stall():
    theirs, ours = kinds("a " * 2000, "b " * 2000)
    assert set(theirs) == {"missing"}
    assert set(ours) == {"extra"}
