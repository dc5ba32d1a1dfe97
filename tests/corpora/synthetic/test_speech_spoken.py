import itertools

import numpy as np
import pytest

from audio_lm.corpora.synthetic.speech_spoken import (
    SAMPLES_PER_SECOND_SPOKEN,
    Sentence,
    Speaker,
    Spoken,
    at_16_khz,
    has_speech,
)
from audio_lm.corpora.synthetic.voices import VOICES

needs_speech = pytest.mark.skipif(not has_speech(), reason="needs espeakng-loader")


def test_merged_words_give_no_units():
    wave = np.zeros(16_000, dtype=np.float32)
    assert Spoken("in the", wave, [(0, 0.1, 0.3)]).units() is None
    assert Spoken("in the", wave, [(0, 0.1, 0.2), (3, 0.2, 0.3)]).units() == [
        ("in", 0.1, 0.2),
        ("the", 0.2, 0.3),
    ]


@pytest.mark.parametrize(
    ("hertz", "least", "most"), [(200, 0.49, 0.51), (6_000, 0.48, 0.51), (9_500, 0.0, 0.01)]
)
def test_resampling_keeps_what_16_khz_can_carry(hertz, least, most):
    times = np.arange(SAMPLES_PER_SECOND_SPOKEN) / SAMPLES_PER_SECOND_SPOKEN
    wave = at_16_khz((16_384 * np.sin(2 * np.pi * hertz * times)).astype(np.int16))
    assert abs(len(wave) - 16_000) <= 1
    assert least <= abs(wave[1_000:-1_000]).max() <= most


def test_resampling_does_not_move_a_click():
    click = np.zeros(SAMPLES_PER_SECOND_SPOKEN, dtype=np.int16)
    click[SAMPLES_PER_SECOND_SPOKEN // 2] = 20_000
    assert abs(int(np.argmax(at_16_khz(click))) - 8_000) <= 1


@needs_speech
def test_a_word_begins_where_its_sound_begins():
    sentences = [Sentence("one two three four", f"en-us+{voice.name}") for voice in VOICES["train"]]
    with Speaker() as speaker:
        for sentence, said in zip(sentences, speaker.say(sentences), strict=True):
            units = said.units()
            assert [word for word, _, _ in units] == ["one", "two", "three", "four"]
            loud = np.flatnonzero(abs(said.wave) > 0.05 * abs(said.wave).max())
            assert abs(units[0][1] - loud[0] / 16_000) < 0.06, sentence.voice
            assert abs(units[-1][2] - loud[-1] / 16_000) < 0.06, sentence.voice


@needs_speech
@pytest.mark.parametrize("speed", [0.88, 1.0, 1.088, 1.14])
def test_a_faster_tape_is_shorter_and_its_words_still_where_they_sound(speed):
    with Speaker() as speaker:
        plain, fast = speaker.say([Sentence("one two", "en-us"), Sentence("one two", "en-us", speed=speed)])
    assert len(fast.wave) * speed == pytest.approx(len(plain.wave), rel=0.01)
    for (_, start, end), (_, fast_start, fast_end) in zip(plain.words, fast.words, strict=True):
        assert (fast_start * speed, fast_end * speed) == pytest.approx((start, end), rel=0.01)
    loud = np.flatnonzero(abs(fast.wave) > 0.05 * abs(fast.wave).max())
    assert abs(fast.words[0][1] - loud[0] / 16_000) < 0.06


@needs_speech
def test_who_stops_listening_does_not_confuse_the_next():
    with Speaker() as speaker:
        said = speaker.say(Sentence("one", "en-us") for _ in itertools.count())
        next(said)
        said.close()
        (other,) = speaker.say([Sentence("nine zero", "en-us")])
    assert [word for word, _, _ in other.units()] == ["nine", "zero"]


@needs_speech
def test_two_speakers_say_the_same_in_the_same_way():
    sentences = [
        Sentence(text, "en-us+f5", seed=seed) for seed, text in enumerate(("one", "two three"), start=1)
    ]
    waves = []
    for _ in range(2):
        with Speaker() as speaker:
            waves.append([said.wave for said in speaker.say(sentences)])
    assert all((a == b).all() for a, b in zip(*waves, strict=True))


@needs_speech
@pytest.mark.parametrize("voice", ["en-us+nobody", "elvish", "en-us+../../en_dict"])
def test_an_unknown_voice_is_not_replaced_by_another(voice):
    with Speaker() as speaker, pytest.raises(ValueError, match="no voice"):
        list(speaker.say([Sentence("one", voice)]))


@needs_speech
def test_chinese_digits_are_words_of_their_own():
    with Speaker() as speaker:
        (said,) = speaker.say([Sentence("三五七", "cmn+m3")])
    assert [word for word, _, _ in said.units()] == ["三", "五", "七"]


@needs_speech
def test_the_child_ends_with_its_context_even_in_the_middle_of_a_sentence():
    with Speaker() as speaker:
        said = speaker.say(Sentence("one", "en-us") for _ in itertools.count())
        next(said)
    said.close()
    assert speaker._child.returncode is not None
