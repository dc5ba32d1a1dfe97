import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.evaluation.choice_lines import LETTERS, choice_lines, with_texts
from audio_lm.evaluation.controls import rotated_labels
from audio_lm.evaluation.prediction_files.rows import lettered_choices
from audio_lm.pipeline.closed_answers import choices_in


@pytest.mark.parametrize(
    ("question", "texts"),
    [
        ("Who?\nA. man\nB. woman", ["man", "woman"]),
        ("Who?\n(A) man \n(B) woman\n\nAnswer with the letter.", ["man", "woman"]),
        ("Choices: A. man\nB: woman\nC) child", ["man", "woman", "child"]),
        ("A. note first\nWho?\nA. man\nB. woman", ["man", "woman"]),
        ("I. One\nA. man\nB. woman", ["man", "woman"]),
        ("Vitamin C. or D. is good?", []),
        ("A. only one", []),
        ("B. wrong\nA. order", []),
        ("A.\nB. woman", []),
    ],
)
def test_choices_are_the_same_for_metrics_closed_answers_and_rotation(question, texts):
    assert [line[4] for line in choice_lines(question)] == texts
    assert lettered_choices(question) == texts
    lines = choices_in({"question": question})
    assert [line.lstrip("(")[0] for line in lines or ()] == list(LETTERS[: len(texts)])
    rotated = rotated_labels({"question": question, "answer": "A"})
    assert (rotated is None) == (not texts)
    if rotated is not None:
        assert lettered_choices(rotated["question"]) == [*texts[1:], *texts[:1]]
        assert rotated["answer"] == LETTERS[len(texts) - 1]


@given(
    texts=st.lists(st.text("abc .:)", min_size=1).map(str.strip).filter(bool), min_size=2, max_size=10),
    right=st.integers(0, 9),
)
def test_the_right_choice_keeps_its_text_under_every_rotation(texts, right):
    right %= len(texts)
    question = "\n".join(
        ["Which?", *(f"{letter}. {text}" for letter, text in zip(LETTERS, texts, strict=False))]
    )
    labels = {"question": question, "answer": f"{LETTERS[right]}. {texts[right]}"}
    for _ in texts:
        labels = {**labels, **rotated_labels(labels)}
        assert labels["answer"] in labels["question"].split("\n")
        assert labels["answer"].split(". ", 1)[1] == texts[right]
    assert labels["question"] == question


def test_other_texts_take_the_place_of_the_choices():
    question = "Who?\nA. man\nB. woman\nQuick!"
    assert with_texts(question, choice_lines(question), ["x", "y"]) == "Who?\nA. x\nB. y\nQuick!"
