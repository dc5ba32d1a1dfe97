import pytest

from audio_lm.corpora.synthetic.questions import QUESTIONS

DIGITS = {"language": "en", "text": "three five nine", "gender": "female"}
PHRASE = {"language": "de", "text": "guten Morgen", "gender": "male"}
COMMAND = {"language": "en", "text": "stop", "keyword": "stop"}
OTHER_WORD = {"language": "en", "text": "tree", "keyword": "none"}
NOTE = {"language": "unknown", "instrument": "organ", "pitch": 60, "velocity": 96, "qualities": ["dark"]}
MELODY = {"language": "unknown", "instrument": "organ", "title": "Ode to Joy"}
EVENT = {"language": "unknown", "events": ["beep"], "event_times": [["beep", 0.1, 0.5]]}
TWO_EVENTS = {"language": "unknown", "events": ["beep"], "event_times": [["beep", 0, 0.5], ["beep", 1, 1.5]]}
SCENE = {"language": None, "scene": "wind-like noise"}


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (
            DIGITS,
            {
                "digits": "three five nine",
                "num_digits": "three",
                "gender": "female",
                "language": "English",
                "nature": "speech",
            },
        ),
        (PHRASE, {"gender": "male", "language": "German", "nature": "speech"}),
        (COMMAND, {"command": "stop", "language": "English", "nature": "speech"}),
        (OTHER_WORD, {"language": "English", "nature": "speech"}),
        (NOTE, {"instrument": "organ", "pitch": "60", "nature": "music"}),
        (MELODY, {"nature": "music"}),
        (EVENT, {"event": "beep", "nature": "sound"}),
        (TWO_EVENTS, {"nature": "sound"}),
        (SCENE, {"nature": "sound"}),
        ({"text": None}, {}),
    ],
)
def test_a_clip_has_the_answers_that_follow_from_its_labels(labels, expected):
    answers = {question.name: question.answer(labels) for question in QUESTIONS}
    assert {name: answer for name, answer in answers.items() if answer is not None} == expected


def test_shares_add_up_to_one():
    assert sum(question.share for question in QUESTIONS) == pytest.approx(1.0)
