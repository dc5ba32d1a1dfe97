import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.tracking.report.word_diff import word_diff

texts = st.text(alphabet="ab <|>0.1\u4e03\u3044\uc77c,A", max_size=30)


def kinds(reference, answer):
    return tuple([piece.kind for piece in pieces] for pieces in word_diff(reference, answer))


@pytest.mark.parametrize(
    ("reference", "answer", "reference_kinds", "answer_kinds"),
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
def test_pieces_are_marked_by_their_kind_of_difference(reference, answer, reference_kinds, answer_kinds):
    assert kinds(reference, answer) == (reference_kinds, answer_kinds)


@given(texts, texts)
def test_pieces_and_blanks_rebuild_the_text(reference, answer):
    for text, pieces in zip((reference, answer), word_diff(reference, answer), strict=True):
        rebuilt = "".join(" " * piece.is_spaced + piece.text for piece in pieces)
        assert rebuilt.strip() == " ".join(text.split())


@given(texts, texts)
def test_both_sides_have_the_same_number_of_aligned_pieces(reference, answer):
    reference_kinds, answer_kinds = kinds(reference, answer)
    for kind in ("same", "near", "wrong"):
        assert reference_kinds.count(kind) == answer_kinds.count(kind)


@given(texts)
def test_a_correct_answer_has_no_differences(text):
    reference_kinds, answer_kinds = kinds(text, text)
    assert set(reference_kinds) | set(answer_kinds) <= {"same"}


def test_a_very_long_answer_is_not_aligned():
    reference_kinds, answer_kinds = kinds("a " * 2000, "b " * 2000)
    assert set(reference_kinds) == {"missing"}
    assert set(answer_kinds) == {"extra"}
