import re

import pytest

from audio_lm.corpora.synthesis.fact_wordings import WORDINGS


def words(text):
    return set(re.findall(r"[a-z]+", text.lower()))


@pytest.mark.parametrize("wordings", WORDINGS.values(), ids=WORDINGS)
def test_a_held_out_wording_has_training_words_only(wordings):
    training = set().union(*map(words, wordings.training))
    for text in wordings.held_out:
        assert words(text) <= training, words(text) - training


def test_no_wording_is_that_of_two_questions():
    texts = [text for wordings in WORDINGS.values() for text in wordings.training]
    assert len(set(texts)) == len(texts)
