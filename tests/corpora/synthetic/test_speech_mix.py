import numpy as np
import pytest

from audio_lm.corpora.synthetic.speech_mix import (
    MAX_SILENCE,
    MIN_SILENCE,
    change_tone,
    draw_silence,
    mix_waves,
    shift_units,
)


def speech(num_samples, peak):
    return (peak * np.sin(np.arange(num_samples))).astype(np.float32)


def test_silences_are_within_limits_and_whole_samples_long():
    rng = np.random.default_rng(0)
    for _ in range(100):
        seconds = draw_silence(rng)
        assert MIN_SILENCE <= seconds <= MAX_SILENCE
        assert seconds * 16_000 == pytest.approx(round(seconds * 16_000), abs=1e-6)


def test_voices_are_equally_loud_and_at_their_given_times():
    wave = mix_waves(
        [(0.1, speech(1_600, 0.9)), (0.5, speech(1_600, 0.1))], np.random.default_rng(1), is_noisy=False
    )
    assert not wave[:1_600].any()
    assert not wave[3_200:8_000].any()
    assert abs(wave[1_600:3_200]).max() == pytest.approx(abs(wave[8_000:9_600]).max(), rel=0.01)
    assert 0.05 <= len(wave) / 16_000 - 0.6 <= 0.3


def test_overlapping_voices_do_not_clip():
    for seed in range(20):
        placed = [(0.0, speech(1_600, 0.9)), (0.0, speech(1_600, 0.9))]
        assert abs(mix_waves(placed, np.random.default_rng(seed), is_noisy=True)).max() <= 0.9001, seed


def test_noise_is_added_to_about_half_and_is_softer_than_speech():
    noises = []
    for seed in range(100):
        wave = mix_waves([(0.1, speech(8_000, 0.5))], np.random.default_rng(seed), is_noisy=True)
        noises.append(wave[:1_600].std() / wave[1_600:9_600].std())
    assert 0.35 < np.mean(np.array(noises) > 0) < 0.65
    assert max(noises) < 0.25  # 15 dB is 0.18; the level of short brown noise varies


def test_word_times_are_shifted_with_the_audio():
    assert shift_units([("one", 0.0, 0.5)], 0.25) == [("one", 0.25, 0.75)]
    assert shift_units(None, 0.25) is None


def test_tone_changes_tilt_the_spectrum_and_keep_the_onset():
    click = np.zeros(4_000, dtype=np.float32)
    click[1_000] = 1.0
    tilts = []
    for seed in range(40):
        wave = change_tone(click, np.random.default_rng(seed))
        assert not wave[:1_000].any()
        assert int(np.argmax(abs(wave))) - 1_000 <= 1
        spectrum = abs(np.fft.rfft(wave[1_000:3_048]))
        tilts.append(20 * np.log10(spectrum[1:100].mean() / spectrum[-100:].mean()))
    assert min(tilts) < -5
    assert max(tilts) > 5
    assert max(map(abs, tilts)) < 40
