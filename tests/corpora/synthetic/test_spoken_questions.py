from collections import Counter

import numpy as np

from audio_lm.corpora.synthetic.questions import QUESTIONS
from audio_lm.corpora.synthetic.speech_sentences import DIGITS
from audio_lm.corpora.synthetic.spoken_questions import (
    ABOUT_A_CLIP,
    EXERCISE_SHARE,
    EXERCISES,
    NAME_OF_TEXT,
    spoken_text,
)


def test_spoken_questions_are_questions_of_the_dialogues():
    assert ABOUT_A_CLIP.keys() <= {question.name for question in QUESTIONS}
    assert not NAME_OF_TEXT.keys() & EXERCISES.keys()


def test_answers_of_exercises_are_words_of_the_dialogues():
    assert set(EXERCISES.values()) <= {
        *DIGITS,
        *(["up", "down", "left", "right", "on", "off", "yes", "no", "stop", "go"]),
    }
    assert EXERCISES["which number comes after two"] == "three"
    assert EXERCISES["what is the opposite of left"] == "right"


def test_all_texts_are_drawn_in_their_shares():
    draws = np.linspace(0, 1, 20_000, endpoint=False)
    counts = Counter(spoken_text(float(draw)) for draw in draws)
    assert counts.keys() == NAME_OF_TEXT.keys() | EXERCISES.keys()
    share = sum(counts[text] for text in EXERCISES) / len(draws)
    assert abs(share - EXERCISE_SHARE) < 0.01
