import numpy as np
import pytest

from audio_lm.common.audio_units import SAMPLES_PER_FRAME, SAMPLES_PER_SECOND
from audio_lm.corpora.synthetic.waves import (
    HIGHEST_HZ,
    add_reverb,
    decay_envelope,
    fade,
    harmonic_tone,
    in_whole_frames,
    noise,
    normalize_peak,
    oscillator_phase,
    repeat_at,
    root_mean_square,
    sample_times,
    sine,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def level_db(wave, low_hz, high_hz):
    power = np.abs(np.fft.rfft(wave * np.hanning(len(wave)))) ** 2
    hertz = np.fft.rfftfreq(len(wave), 1 / SAMPLES_PER_SECOND)
    return 10 * np.log10(power[(hertz >= low_hz) & (hertz < high_hz)].sum() + 1e-12)


def test_a_wavetable_tone_is_the_sum_of_its_partials():
    amplitudes, phases = np.array([1.0, 0.5, 0.25]), np.array([0.1, 0.7, 0.3])
    tone = harmonic_tone(oscillator_phase(313.7, 8_000), amplitudes, highest_hz=320, phases=phases)
    time = sample_times(8_000)
    partials = [
        amplitude * np.sin(2 * np.pi * (number * 313.7 * time + phase))
        for number, amplitude, phase in zip((1, 2, 3), amplitudes, phases, strict=True)
    ]
    np.testing.assert_allclose(tone, sum(partials), atol=2e-4)


def test_no_partial_exceeds_the_highest_frequency():
    tone = harmonic_tone(oscillator_phase(1_500, 16_000), np.ones(20), highest_hz=1_500)
    assert level_db(tone, HIGHEST_HZ, 8_000) < level_db(tone, 0, HIGHEST_HZ) - 60


def test_the_spectrum_of_a_tone_interpolates_from_first_to_last_amplitudes():
    tone = harmonic_tone(
        oscillator_phase(400, 16_000),
        np.array([1.0, 0.0]),
        highest_hz=400,
        last_amplitudes=np.array([0.0, 1.0]),
    )
    assert level_db(tone[:2_000], 300, 500) > level_db(tone[:2_000], 700, 900) + 10
    assert level_db(tone[-2_000:], 700, 900) > level_db(tone[-2_000:], 300, 500) + 10


def test_the_phase_of_a_glide_is_the_integral_of_its_frequency():
    hertz = np.linspace(100, 300, SAMPLES_PER_SECOND)
    assert oscillator_phase(hertz, SAMPLES_PER_SECOND)[-1] == pytest.approx(200, abs=0.05)


@pytest.mark.parametrize("slope", [-6.0, -3.0, 0.0, 3.0])
def test_noise_has_its_slope_per_octave(slope, rng):
    wave = noise(5 * SAMPLES_PER_SECOND, rng, slope=slope)
    octaves = [level_db(wave, low, 2 * low) for low in (250, 500, 1_000, 2_000)]
    # An octave is twice as wide as the one below, which adds 3 dB.
    np.testing.assert_allclose(np.diff(octaves), slope + 3.01, atol=0.8)
    assert root_mean_square(wave) == pytest.approx(1.0, rel=1e-3)


def test_noise_stays_in_its_band(rng):
    wave = noise(SAMPLES_PER_SECOND, rng, low_hz=1_000, high_hz=2_000)
    assert level_db(wave, 1_000, 2_000) > level_db(wave, 2_100, 8_000) + 30


def test_a_decay_ends_lower_by_its_decibels():
    envelope = decay_envelope(1_000, decibels=20)
    assert envelope[0] == 1
    assert envelope[-1] == pytest.approx(0.1, rel=1e-3)


def test_fading_starts_and_ends_in_silence_and_leaves_its_input_unchanged():
    wave = np.ones(1_600, dtype=np.float32)
    ends = fade(wave, attack=0.01, release=0.02)
    assert (ends[0], ends[-1], ends[800]) == (pytest.approx(1 / 160), pytest.approx(1 / 320), 1)
    assert np.all(wave == 1)


def test_reverberation_follows_the_sound_and_decays(rng):
    click = np.zeros(SAMPLES_PER_SECOND, dtype=np.float32)
    click[0] = 1
    room = add_reverb(click, rng, seconds=0.5, wet=0.5)
    early, late, after = room[800:2_400], room[4_800:6_400], room[8_200:]
    assert root_mean_square(early) > 3 * root_mean_square(late) > 0
    assert root_mean_square(after) < 1e-4


def test_struck_places_kernels_at_their_positions():
    kernel = np.array([1.0, -1.0], dtype=np.float32)
    assert repeat_at(6, np.array([0, 3, 5]), np.array([1, 2, 4]), kernel).tolist() == [1, -1, 0, 2, -2, 4]


def test_at_peak_scales_to_the_given_peak():
    assert np.max(np.abs(normalize_peak(sine(oscillator_phase(440, 1_600)), 0.3))) == pytest.approx(0.3)
    assert not normalize_peak(np.zeros(10, dtype=np.float32)).any()


def test_lengths_are_whole_frames():
    assert in_whole_frames(0.1234) == 12 * SAMPLES_PER_FRAME
