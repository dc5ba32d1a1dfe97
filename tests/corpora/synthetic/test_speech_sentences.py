import numpy as np

from audio_lm.corpora.synthetic.speech_sentences import (
    COMMANDS,
    DIGITS,
    NEW_OTHER_WORDS,
    OTHER_WORDS,
    TEMPLATES,
    draw_digits,
    draw_request,
)


def test_digit_strings_have_all_lengths_in_range():
    rng = np.random.default_rng(0)
    strings = [draw_digits(rng, DIGITS, least=1, most=4) for _ in range(200)]
    assert {len(digits) for digits in strings} == {1, 2, 3, 4}
    assert {digit for digits in strings for digit in digits} == set(DIGITS)


def test_slots_are_in_the_order_of_the_text():
    rng = np.random.default_rng(0)
    requests = [draw_request(rng) for _ in range(300)]
    assert {(request.scenario, request.action) for request in requests} == {row[:2] for row in TEMPLATES}
    for request in requests:
        assert request.slots, request
        places = [f" {request.text} ".index(f" {value} ") for _, value in request.slots]
        assert places == sorted(places), request
        assert len({value for _, value in request.slots}) == len(request.slots), request
        assert "{" not in request.text, request


def test_other_words_are_no_commands():
    assert not set(COMMANDS) & {*OTHER_WORDS, *NEW_OTHER_WORDS}
    assert not set(OTHER_WORDS) & set(NEW_OTHER_WORDS)
