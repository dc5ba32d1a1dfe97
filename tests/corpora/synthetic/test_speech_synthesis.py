import itertools

import numpy as np
import pytest

from audio_lm.corpora.synthetic.speech_synthesis import (
    ESPEAK_SAMPLES_PER_SECOND,
    Sentence,
    SpeechSynthesizer,
    Spoken,
    has_synthesizer,
    resample_speech,
)
from audio_lm.corpora.synthetic.voices import VOICES

needs_speech = pytest.mark.skipif(not has_synthesizer(), reason="needs espeakng-loader")


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
def test_resampling_keeps_frequencies_below_8_khz_only(hertz, least, most):
    times = np.arange(ESPEAK_SAMPLES_PER_SECOND) / ESPEAK_SAMPLES_PER_SECOND
    wave = resample_speech((16_384 * np.sin(2 * np.pi * hertz * times)).astype(np.int16))
    assert abs(len(wave) - 16_000) <= 1
    assert least <= abs(wave[1_000:-1_000]).max() <= most


def test_resampling_does_not_move_a_click():
    click = np.zeros(ESPEAK_SAMPLES_PER_SECOND, dtype=np.int16)
    click[ESPEAK_SAMPLES_PER_SECOND // 2] = 20_000
    assert abs(int(np.argmax(resample_speech(click))) - 8_000) <= 1


@needs_speech
def test_words_start_at_their_labelled_times():
    sentences = [Sentence("one two three four", f"en-us+{voice.name}") for voice in VOICES["train"]]
    with SpeechSynthesizer() as speaker:
        for sentence, spoken in zip(sentences, speaker.synthesize(sentences), strict=True):
            units = spoken.units()
            assert [word for word, _, _ in units] == ["one", "two", "three", "four"]
            loud = np.flatnonzero(abs(spoken.wave) > 0.05 * abs(spoken.wave).max())
            assert abs(units[0][1] - loud[0] / 16_000) < 0.06, sentence.voice
            assert abs(units[-1][2] - loud[-1] / 16_000) < 0.06, sentence.voice


@needs_speech
@pytest.mark.parametrize("speed", [0.88, 1.0, 1.088, 1.14])
def test_speed_perturbation_scales_length_and_word_times(speed):
    with SpeechSynthesizer() as speaker:
        plain, fast = speaker.synthesize(
            [Sentence("one two", "en-us"), Sentence("one two", "en-us", speed=speed)]
        )
    assert len(fast.wave) * speed == pytest.approx(len(plain.wave), rel=0.01)
    for (_, start, end), (_, fast_start, fast_end) in zip(plain.words, fast.words, strict=True):
        assert (fast_start * speed, fast_end * speed) == pytest.approx((start, end), rel=0.01)
    loud = np.flatnonzero(abs(fast.wave) > 0.05 * abs(fast.wave).max())
    assert abs(fast.words[0][1] - loud[0] / 16_000) < 0.06


@needs_speech
def test_an_abandoned_request_does_not_affect_the_next():
    with SpeechSynthesizer() as speaker:
        stream = speaker.synthesize(Sentence("one", "en-us") for _ in itertools.count())
        next(stream)
        stream.close()
        (other,) = speaker.synthesize([Sentence("nine zero", "en-us")])
    assert [word for word, _, _ in other.units()] == ["nine", "zero"]


@needs_speech
def test_synthesis_is_deterministic():
    sentences = [
        Sentence(text, "en-us+f5", seed=seed) for seed, text in enumerate(("one", "two three"), start=1)
    ]
    waves = []
    for _ in range(2):
        with SpeechSynthesizer() as speaker:
            waves.append([spoken.wave for spoken in speaker.synthesize(sentences)])
    assert all((a == b).all() for a, b in zip(*waves, strict=True))


@needs_speech
@pytest.mark.parametrize("voice", ["en-us+nobody", "elvish", "en-us+../../en_dict"])
def test_an_unknown_voice_is_an_error(voice):
    with SpeechSynthesizer() as speaker, pytest.raises(ValueError, match="no voice"):
        list(speaker.synthesize([Sentence("one", voice)]))


@needs_speech
def test_each_chinese_digit_is_one_word():
    with SpeechSynthesizer() as speaker:
        (spoken,) = speaker.synthesize([Sentence("三五七", "cmn+m3")])
    assert [word for word, _, _ in spoken.units()] == ["三", "五", "七"]


@needs_speech
def test_the_child_process_ends_with_its_context_even_during_synthesis():
    with SpeechSynthesizer() as speaker:
        stream = speaker.synthesize(Sentence("one", "en-us") for _ in itertools.count())
        next(stream)
    stream.close()
    assert speaker._child.returncode is not None
