import random

import pytest

from audio_lm.data.contamination.texts import GRAM_WORDS, MAX_ROWS, MIN_WORDS, TextIndex, keys_of_text

WORDS = [f"word{number}" for number in range(40)]
LONG = " ".join(WORDS[:20])


def compared(test, training, language="en"):
    """Kinds of the matches of one text of a benchmark with texts of training."""
    index = TextIndex()
    index.add_test((0, 0), test, language)
    for row, text in enumerate(training):
        index.add_training((0, row), text, language)
    return {match.is_equal for match in index.matches()}, len(index.repeated())


def test_case_and_punctuation_do_not_hide_a_copy():
    assert compared(LONG, [f"{LONG.upper()}!"]) == ({True, False}, 0)


def test_short_texts_are_not_compared():
    short = " ".join(WORDS[: MIN_WORDS - 1])
    assert keys_of_text(short, "en").whole is None
    assert compared(short, [short]) == (set(), 0)
    assert compared(" ".join(WORDS[:MIN_WORDS]), [" ".join(WORDS[:MIN_WORDS])]) == ({True}, 0)


def test_a_part_of_enough_words_is_found():
    assert compared(LONG, [" ".join(WORDS[4 : 4 + GRAM_WORDS] + ["other"] * 9)]) == ({False}, 0)
    assert compared(LONG, [" ".join(WORDS[4 : 3 + GRAM_WORDS] + ["other"] * 9)]) == (set(), 0)


def test_a_phrase_that_training_repeats_is_no_copy():
    assert compared(LONG, [LONG] * MAX_ROWS)[0] == {True, False}
    assert compared(LONG, [LONG] * (MAX_ROWS + 1)) == (set(), 1)


def test_chinese_is_compared_per_character():
    sentence = "今天的天气非常好我们一起去公园散步吧好吗"
    assert len(sentence) == 20
    assert compared(sentence, [f"{sentence[:9]}，{sentence[9:]}。"], "zh") == ({True}, 0)
    assert keys_of_text(sentence[:15], "zh").whole is None


@pytest.mark.parametrize("seed", range(6))
def test_matches_are_those_of_comparing_all_pairs_of_texts(seed):
    rng = random.Random(seed)
    base = [rng.choice(WORDS) for _ in range(60)]

    def text():
        start, size = rng.randrange(40), rng.randint(6, 20)
        return [*base[start : start + size], *rng.choices(WORDS, k=rng.choice([0, 0, 4]))]

    def parts(words):
        grams = {tuple(words[at : at + GRAM_WORDS]) for at in range(len(words) - GRAM_WORDS + 1)}
        return {tuple(words), *grams} if len(words) >= MIN_WORDS else set()

    tests, training = [text() for _ in range(8)], [text() for _ in range(9)]
    index = TextIndex()
    for row, words in enumerate(tests):
        index.add_test((0, row), " ".join(words), "en")
    for row, words in enumerate(training):
        index.add_training((1, row), " ".join(words), "en")
    expected = {
        ((0, one), (1, other))
        for one, ours in enumerate(tests)
        for other, theirs in enumerate(training)
        if parts(ours) & parts(theirs)
    }
    assert expected
    assert {(match.test, match.training) for match in index.matches()} == expected
    assert index.num_compared[0] == sum(len(words) >= MIN_WORDS for words in tests)
