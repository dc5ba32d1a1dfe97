import pytest

from audio_lm.evaluation.judge.prompts import Scores, prompt_of, scores_in, template_of
from audio_lm.evaluation.judge.questions import OpenQuestion

QUESTION = OpenQuestion("1", "What {is} it?", "A dog.", "A cat.", "A dog barks.")


def test_both_orders_show_the_same_texts_in_other_places():
    first, second = prompt_of(QUESTION, "reference_first"), prompt_of(QUESTION, "answer_first")
    assert "Assistant 1s Answer]\nA dog.\n" in first
    assert "Assistant 2s Answer]\nA cat.\n" in first
    assert "Assistant 1s Answer]\nA cat.\n" in second
    assert sorted(first) == sorted(second)
    assert "[Detailed Audio Description]\nA dog barks.\n[Question]\nWhat {is} it?\n" in first


def test_without_a_description_the_prompt_does_not_mention_one():
    question = OpenQuestion("1", "What?", "A dog.", "A cat.")
    assert (template_of(QUESTION), template_of(question)) == ("air_bench", "open")
    text = prompt_of(question, "reference_first")
    assert "escription" not in text
    assert "None" not in text


@pytest.mark.parametrize(
    ("reply", "scores"),
    [
        ("8 6", Scores(8, 6)),
        ("  8.5,  6 \nBecause the second is short.", Scores(8.5, 6)),
        ("The scores:\n10 1.", Scores(10, 1)),
        ("11 5", None),
        ("0 5", None),
        ("8", None),
        ("8 6 7", None),
        ("I give 8 6", None),
        ("", None),
    ],
)
def test_only_a_line_of_two_numbers_is_a_verdict(reply, scores):
    assert scores_in(reply, "reference_first") == scores
    swapped = None if scores is None else Scores(scores.answer, scores.reference)
    assert scores_in(reply, "answer_first") == swapped
