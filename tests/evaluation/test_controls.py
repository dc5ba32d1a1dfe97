from hypothesis import given
from hypothesis import strategies as st

from audio_lm.evaluation.controls import derangement, rotated_labels

QUESTION = "Which one?\nA. a dog\nB. a cat\nC. a bird"


@given(groups=st.lists(st.sampled_from("xyz"), max_size=40), seed=st.integers(0, 5))
def test_every_clip_has_another_one_of_its_group_and_each_is_used_once(groups, seed):
    partners = derangement(groups, seed)
    used = [partner for partner in partners if partner is not None]
    assert len(set(used)) == len(used)
    for index, partner in enumerate(partners):
        if partner is None:
            assert groups.count(groups[index]) == 1
        else:
            assert partner != index
            assert groups[partner] == groups[index]


def test_the_seed_decides_the_partners():
    assert derangement(["x"] * 30, 1) == derangement(["x"] * 30, 1) != derangement(["x"] * 30, 2)


def test_choices_move_and_the_right_one_keeps_its_text():
    labels = {"question": QUESTION, "answer": "A. a dog", "language": "en"}
    seen = []
    for _ in range(3):
        labels |= rotated_labels(labels)
        seen.append(labels["answer"])
    assert seen == ["C. a dog", "B. a dog", "A. a dog"]
    assert labels["question"] == QUESTION, "as many rotations as choices change nothing"


def test_an_answer_that_is_a_letter_or_the_text_alone_is_right_after_rotation():
    assert rotated_labels({"question": QUESTION, "answer": "B"})["answer"] == "A"
    assert rotated_labels({"question": QUESTION, "answer": "a cat"})["answer"] == "a cat"
    listed = rotated_labels({"question": QUESTION, "answer": "B", "choices": ["a dog", "a cat", "a bird"]})
    assert listed["choices"] == ["a cat", "a bird", "a dog"]


def test_a_question_without_choices_is_not_rotated():
    for question in ("Who speaks?", "A. only one", "B. wrong\nA. order", None, 3):
        assert rotated_labels({"question": question, "answer": "x"}) is None
