from dataclasses import replace

import pytest

from audio_lm.corpora.synthetic.corruptions import corrupt, corruptions_of
from audio_lm.corpora.synthetic.known_clips import SYNTHETIC
from audio_lm.corpora.synthetic.split_random import SplitRandom


def random(number=0):
    return SplitRandom("train", 0, "corruptions", number)


EVENT = SYNTHETIC.question("event")


def of_kind(kind):
    return replace(EVENT, kind=kind)


@pytest.mark.parametrize("number", range(20))
def test_words_lose_swap_or_change_one_word(number):
    words = "one two three"
    found = corruptions_of(SYNTHETIC.question("digits"), words, [words, "four", "one"], random(number))
    assert found["dropped word"] in {"two three", "one three", "one two"}
    assert found["swapped order"] in {"two one three", "one three two"}
    changed = found["another word"].split()
    assert len(changed) == 3
    assert sum(new != old for new, old in zip(changed, words.split(), strict=True)) == 1


def test_two_equal_words_have_no_other_order():
    assert "swapped order" not in corruptions_of(SYNTHETIC.question("digits"), "two two", [], random())


def test_a_list_loses_a_sound_or_gains_one_of_other_clips():
    found = corruptions_of(of_kind("list"), "beep, crackle", ["beep, crackle", "beep, bell"], random())
    assert found["missing sound"] in {"beep", "crackle"}
    assert sorted(found["hallucinated sound"].split(", ")) == ["beep", "bell", "crackle"]


@pytest.mark.parametrize("number", range(20))
def test_all_stamps_are_shifted_by_the_same_time_and_stay_positive(number):
    found = corruptions_of(of_kind("times"), "from 0.52 to 0.80 seconds", [], random(number))
    start, end = (float(word) for word in found["shifted stamps"].split() if word[0].isdigit())
    assert 0.3 - 0.01 <= abs(start - 0.52) <= 1.01
    assert end - start == pytest.approx(0.28, abs=0.011)
    assert start > 0


@pytest.mark.parametrize("number", range(10))
def test_a_count_in_figures_is_off_by_one(number):
    assert corruptions_of(of_kind("count"), "3", [], random(number))["wrong count"] in {"2", "4"}


@pytest.mark.parametrize(
    ("name", "answer", "options", "kind"),
    [
        ("gender", "male", ["male", "female"], "another speaker"),
        ("num_digits", "three", ["two", "three"], "wrong count"),
        ("event", "beep", ["beep", "crackle"], "hallucinated sound"),
        (None, "audio 1", ["audio 1", "audio 2"], "another answer"),
    ],
)
def test_a_choice_becomes_another_choice_of_its_kind(name, answer, options, kind):
    (wrong,) = {*options} - {answer}
    question = None if name is None else SYNTHETIC.question(name)
    assert corrupt(question, answer, options, random()) == (kind, wrong)


def test_an_answer_without_alternative_is_not_corrupted():
    assert corrupt(SYNTHETIC.question("language"), "German", ["German"], random()) is None
