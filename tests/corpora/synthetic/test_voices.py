from collections import Counter

import numpy as np
import pytest

from audio_lm.corpora.synthetic.speech_synthesis import Sentence, SpeechSynthesizer, has_synthesizer
from audio_lm.corpora.synthetic.voices import ACCENTS, LANGUAGES, VOICES, VOICES_OF_KNOWN_AGE, draw_voice


def test_no_voice_is_in_two_splits_and_each_has_both_genders():
    names = [voice.name for voices in VOICES.values() for voice in voices]
    assert len(names) == len(set(names))
    for split, voices in VOICES.items():
        assert {voice.gender for voice in voices} == {"female", "male"}, split


def test_genders_are_drawn_equally_often():
    rng = np.random.default_rng(0)
    drawn = Counter(draw_voice("train", rng).gender for _ in range(2_000))
    assert abs(drawn["female"] / 2_000 - 0.5) < 0.04


def test_other_than_excludes_a_voice():
    rng = np.random.default_rng(0)
    for split, voices in VOICES.items():
        for voice in voices:
            assert draw_voice(split, rng, gender=voice.gender, other_than=voice.name).name != voice.name


def test_every_known_age_is_declared_by_a_training_voice():
    assert {voice.age for voice in VOICES_OF_KNOWN_AGE} >= {"twenties", "thirties", "fifties", "seventies"}


@pytest.mark.skipif(not has_synthesizer(), reason="needs espeakng-loader")
def test_the_synthesiser_has_every_voice_language_and_accent():
    names = [voice.name for voices in VOICES.values() for voice in voices]
    voices = [f"en-us+{name}" for name in names] + [*LANGUAGES.values(), *ACCENTS]
    with SpeechSynthesizer() as speaker:
        for spoken in speaker.synthesize(Sentence("1", voice) for voice in voices):
            assert len(spoken.wave) > 1_000
