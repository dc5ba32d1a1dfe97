import pytest

from audio_lm.corpora.synthetic.corruptions import corrupt, corruptions_of
from audio_lm.corpora.synthetic.split_random import SplitRandom


def random(number=0):
    return SplitRandom("train", 0, "corruptions", number)


@pytest.mark.parametrize("number", range(20))
def test_a_list_of_words_loses_swaps_or_changes_one_word(number):
    words = "one two three"
    found = corruptions_of("digits", words, [words, "four", "one"], random(number))
    assert found["dropped word"] in {"two three", "one three", "one two"}
    assert found["swapped order"] in {"two one three", "one three two"}
    changed = found["another word"].split()
    assert len(changed) == 3
    assert sum(new != old for new, old in zip(changed, words.split(), strict=True)) == 1


def test_two_equal_words_have_no_other_order():
    assert "swapped order" not in corruptions_of("digits", "two two", ["two two"], random())


@pytest.mark.parametrize(
    ("about", "answer", "options", "kind"),
    [
        ("gender", "male", ["male", "female"], "another speaker"),
        ("num_digits", "three", ["two", "three"], "wrong count"),
        ("event", "beep", ["beep", "crackle"], "hallucinated sound"),
        ("", "audio 1", ["audio 1", "audio 2"], "another answer"),
    ],
)
def test_a_choice_becomes_another_choice_of_its_kind(about, answer, options, kind):
    (wrong,) = {*options} - {answer}
    assert corrupt(about, answer, options, random()) == (kind, wrong)


def test_an_answer_without_alternative_is_not_corrupted():
    assert corrupt("language", "German", ["German"], random()) is None
