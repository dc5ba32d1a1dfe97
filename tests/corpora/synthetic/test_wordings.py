import re

import pytest

from audio_lm.corpora.synthetic import comparisons, music, questions, sounds
from audio_lm.corpora.synthetic.split_random import SplitRandom
from audio_lm.corpora.synthetic.wordings import Wordings, with_article

DIALOGUE_WORDINGS = {
    **{question.name: question.wordings for question in questions.QUESTIONS},
    **{f"both {comparison.question}": comparison.wordings for comparison in comparisons.COMPARISONS},
}
ALL_WORDINGS = DIALOGUE_WORDINGS | {
    f"{module.__name__}.{name}": value
    for module in (sounds, music, comparisons)
    for name, value in vars(module).items()
    if isinstance(value, Wordings)
}


def words(text):
    return set(re.findall(r"[a-z{}]+", text.lower()))


@pytest.mark.parametrize("wordings", ALL_WORDINGS.values(), ids=ALL_WORDINGS)
def test_a_held_out_wording_is_new_but_has_training_words_only(wordings):
    assert not set(wordings.held_out) & set(wordings.training)
    training_words = set().union(*map(words, wordings.training))
    for text in wordings.held_out:
        assert words(text) <= training_words, f"{text!r} has words of its own: {words(text) - training_words}"


def test_all_wordings_are_unique():
    texts = [
        text for wordings in DIALOGUE_WORDINGS.values() for text in (*wordings.training, *wordings.held_out)
    ]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("wordings", DIALOGUE_WORDINGS.values(), ids=DIALOGUE_WORDINGS)
def test_questions_of_dialogues_have_many_wordings(wordings):
    assert len(wordings.training) >= 8
    assert len(wordings.held_out) >= 2


def test_training_never_draws_held_out_wordings_and_evaluation_half_of_the_time():
    wordings = Wordings(training=("a {x}", "b {x}"), held_out=("c {x}",))
    questions = {
        split: [wordings.choose(SplitRandom(split, number), x="y") for number in range(200)]
        for split in ("train", "validation", "test")
    }
    assert set(questions["train"]) == {"a y", "b y"}
    for split in ("validation", "test"):
        assert 70 < questions[split].count("c y") < 130


def test_the_article_depends_on_the_first_letter():
    assert with_article("organ") == "an organ"
    assert with_article("bell tone") == "a bell tone"
