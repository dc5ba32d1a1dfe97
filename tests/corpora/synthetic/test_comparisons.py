from audio_lm.corpora.synthetic.comparisons import COMPARISONS, both_speech, higher, same
from audio_lm.corpora.synthetic.questions import QUESTIONS


def test_a_note_is_higher_only_if_the_difference_is_audible():
    assert higher("60", "55") == "audio 1"
    assert higher("55", "60") == "audio 2"
    assert higher("60", "62") is None


def test_both_are_speech_only_if_each_is():
    assert both_speech("speech", "speech") == "yes"
    assert both_speech("speech", "music") == both_speech("sound", "sound") == "no"


def test_equal_answers_are_the_same():
    assert (same("organ", "organ"), same("organ", "flute")) == ("yes", "no")


def test_every_comparison_belongs_to_a_question_and_has_all_its_answers():
    names = {question.name for question in QUESTIONS}
    examples = {"pitch": ("48", "72"), "nature": ("speech", "sound")}
    for comparison in COMPARISONS:
        assert comparison.question in names
        first, second = examples.get(comparison.question, ("a", "b"))
        answers = {comparison.answer(*pair) for pair in ((first, first), (first, second), (second, first))}
        assert set(comparison.answers) <= answers, comparison.question
