import pytest

from audio_lm.corpora.synthesis.facts import TABLE, longer
from audio_lm.tasks.labels import LABELS

SPEECH = {
    "text": "she sells shells",
    "language": "en",
    "gender": "female",
    "units": [("she", 0.5, 0.67), ("sells", 0.67, 1.0), ("shells", 1.0, 1.456)],
    "turns": [["a", 0, 1], ["b", 1, 2], ["a", 2, 3]],
    "seconds": 2.0,
}
SOUND = {"event_times": [["bell", 1.0, 1.5], ["beep", 0.1, 0.3], ["beep", 2.0, 2.5]], "language": "unknown"}


@pytest.mark.parametrize(
    ("name", "labels", "answer"),
    [
        ("text", SPEECH, "she sells shells"),
        ("text", {"text": "word " * 61}, None),
        ("num_words", SPEECH, "3"),
        ("language", SPEECH, "English"),
        ("language", SOUND, None),
        ("gender", SPEECH, "female"),
        ("first_word_times", SPEECH, "from 0.50 to 0.67 seconds"),
        ("last_word_times", SPEECH, "from 1.00 to 1.46 seconds"),
        ("num_speakers", SPEECH, "2"),
        ("events", SOUND, "beep, bell"),
        ("num_events", SOUND, "3"),
        ("first_event", SOUND, "beep"),
        ("last_event", SOUND, "beep"),
        ("event_times", SOUND, "from 0.10 to 0.30 seconds"),
        ("keyword", {"keyword": "none"}, None),
        ("caption", {"caption": ["a bell rings", "a bell"]}, "a bell rings"),
        ("pitch", {"pitch": 60}, "60"),
        ("length", SPEECH, "2.00"),
    ],
)
def test_an_answer_states_a_label(name, labels, answer):
    assert TABLE.question(name).answer(labels) == answer


def test_every_question_reads_a_label_and_has_wordings():
    names = [question.name for question in (*TABLE.questions, *TABLE.compared)]
    assert len(set(names)) == len(names)
    for question in (*TABLE.questions, *TABLE.compared):
        assert question.label is None or question.label in LABELS, question.name
        assert question.wordings.training
    assert {comparison.question for comparison in TABLE.comparisons} <= set(names)
    assert TABLE.things.keys() <= set(names)


def test_clips_of_nearly_the_same_length_are_not_compared():
    assert (longer("2.0", "1.0"), longer("1.0", "2.0"), longer("1.0", "1.1")) == ("audio 1", "audio 2", None)
