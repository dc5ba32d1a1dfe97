import numpy as np
import pytest
import soundfile

from audio_lm.common.errors import DataError
from audio_lm.data.audio.decode import read
from audio_lm.data.audio.edit import BLEEP_LEVEL, bleep_spans, delete_spans, replace_spans, write_edited

RATE, FADE = 8_000, 80


@pytest.fixture
def wave():
    return np.random.default_rng(0).normal(0, 0.1, (2, RATE)).astype(np.float32)


def test_a_deleted_span_leaves_the_rest(wave):
    edited = delete_spans(wave, RATE, [(0.25, 0.5)])
    assert edited.shape == (2, RATE - RATE // 4 - FADE)
    np.testing.assert_array_equal(edited[:, : RATE // 4 - FADE], wave[:, : RATE // 4 - FADE])
    np.testing.assert_array_equal(edited[:, RATE // 4 :], wave[:, RATE // 2 + FADE :])


def test_a_join_has_no_jump():
    ramp = np.concatenate([np.full(4000, 0.5), np.full(4000, -0.5)])[None].astype(np.float32)
    edited = delete_spans(ramp, RATE, [(0.4, 0.6)])
    assert np.abs(np.diff(edited)).max() < 0.02


@pytest.mark.parametrize("spans", [[(0.0, 0.3)], [(0.7, 1.0)], [(0.7, 5.0)], [(0.0, 0.3), (0.7, 1.0)]])
def test_spans_at_the_ends_need_no_more_audio(wave, spans):
    length = sum(min(end, 1.0) - start for start, end in spans) * RATE
    assert delete_spans(wave, RATE, spans).shape[1] == pytest.approx(RATE - length, abs=2)
    assert bleep_spans(wave, RATE, spans).shape == wave.shape


def test_overlapping_spans_are_one(wave):
    both = delete_spans(wave, RATE, [(0.4, 0.6), (0.2, 0.5)])
    np.testing.assert_array_equal(both, delete_spans(wave, RATE, [(0.2, 0.6)]))
    assert delete_spans(wave, RATE, [(0.0, 1.0)]).shape == (2, 0)
    with pytest.raises(ValueError, match="expected an end after the start"):
        delete_spans(wave, RATE, [(0.5, 0.4)])


def test_a_tone_covers_a_span_and_nothing_else(wave):
    edited = bleep_spans(wave, RATE, [(0.25, 0.5)])
    inside = edited[0, RATE // 4 : RATE // 2]
    assert np.sqrt((inside**2).mean()) == pytest.approx(BLEEP_LEVEL, rel=0.02)
    assert abs(np.corrcoef(inside, wave[0, RATE // 4 : RATE // 2])[0, 1]) < 0.05, "the word is gone"
    outside = np.r_[: RATE // 4 - FADE, RATE // 2 + FADE : RATE]
    np.testing.assert_array_equal(edited[:, outside], wave[:, outside])


def test_another_wave_takes_the_place_of_each_span(wave):
    other = np.full((2, 1000), 0.3, np.float32)
    edited = replace_spans(wave, RATE, [(0.2, 0.3), (0.6, 0.9)], other)
    assert edited.shape[1] == RATE - 800 - 2400 + 2 * 1000 - 4 * FADE
    assert np.isclose(edited[0], 0.3, atol=1e-6).sum() >= 2 * (1000 - 2 * FADE)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_untouched_samples_are_written_as_they_were(tmp_path, wave, subtype):
    source, target = tmp_path / "a.wav", tmp_path / "b.wav"
    soundfile.write(source, wave.T, RATE, subtype=subtype)
    content = read(str(source)).wave
    write_edited(target, content, RATE, source=source)
    assert soundfile.info(target).subtype == subtype
    assert source.read_bytes()[-100:] == target.read_bytes()[-100:]
    np.testing.assert_array_equal(read(str(target)).wave, content)


def test_a_file_is_not_overwritten_and_its_format_is_known(tmp_path, wave):
    source = tmp_path / "a.wav"
    soundfile.write(source, wave.T, RATE)
    with pytest.raises(DataError, match="no audio is overwritten"):
        write_edited(source, wave, RATE, source=source)
    with pytest.raises(DataError, match=r"expected a name that ends in \.wav or \.flac"):
        write_edited(tmp_path / "a.mp3", wave, RATE, source=source)


@pytest.mark.parametrize("seed", range(10))
def test_without_a_fade_spans_are_cut_out_and_replaced_as_numpy_does(wave, seed):
    rng = np.random.default_rng(seed)
    ends = np.sort(rng.choice(RATE, 2 * rng.integers(1, 5), replace=False)).reshape(-1, 2)
    spans, other = (ends / RATE).tolist(), np.ones((2, 50), dtype=np.float32)
    inside = np.concatenate([np.arange(start, end) for start, end in ends])
    cut = delete_spans(wave, RATE, spans[::-1], fade=0.0)
    np.testing.assert_array_equal(cut, np.delete(wave, inside, axis=1))
    borders = [0, *ends.ravel().tolist(), RATE]
    kept = [wave[:, start:end] for start, end in zip(borders[::2], borders[1::2], strict=True)]
    parts = [kept[0], *(part for each in kept[1:] for part in (other, each))]
    np.testing.assert_array_equal(replace_spans(wave, RATE, spans, other, fade=0.0), np.hstack(parts))


@pytest.mark.parametrize("fade", [0.0, 0.003, 0.01, 0.5])
def test_a_crossfade_keeps_the_level_of_a_constant_wave(fade):
    steady = np.full((1, RATE), 0.25, dtype=np.float32)
    edited = delete_spans(steady, RATE, [(0.1, 0.2), (0.6, 0.9)], fade=fade)
    np.testing.assert_allclose(edited, 0.25, rtol=1e-6)
