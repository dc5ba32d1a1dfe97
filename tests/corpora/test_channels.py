import numpy as np
import pytest
import soundfile

from audio_lm.common.errors import UserError
from audio_lm.corpora.channels import (
    channel_note,
    check_choice,
    correlation,
    has_different_channels,
    level_difference_db,
    selections,
)
from audio_lm.data.audio.decode import measure

NOISE = np.random.default_rng(0).normal(0, 0.1, (8_000, 8))


def measured(tmp_path, *channels):
    soundfile.write(tmp_path / "a.wav", np.stack(channels, 1), 16_000, subtype="FLOAT")
    return measure(str(tmp_path / "a.wav"), with_powers=True)


def test_channels_that_averaging_would_lose_differ(tmp_path):
    one, other = NOISE[:, 0], NOISE[:, 1]
    assert has_different_channels(measured(tmp_path, one, 0 * one))  # silent
    assert has_different_channels(measured(tmp_path, one, 0.2 * one))  # 14 dB
    assert has_different_channels(measured(tmp_path, one, -one))  # cancels
    assert has_different_channels(measured(tmp_path, one, other))  # one speaker per channel
    assert not has_different_channels(measured(tmp_path, one, one))
    assert not has_different_channels(measured(tmp_path, one, 0.5 * one))
    assert not has_different_channels(
        measured(tmp_path, one + 0.5 * other, one - 0.5 * other)
    )  # room microphones
    assert not has_different_channels(measured(tmp_path, 0 * one, 0 * one))
    assert not has_different_channels(measured(tmp_path, one))


def test_correlation_and_level_difference_match_the_waveform(tmp_path):
    audio = measured(tmp_path, NOISE[:, 0], 0.5 * NOISE[:, 0] + 0.1 * NOISE[:, 1])
    covariance = np.mean(NOISE[:, 0] * (0.5 * NOISE[:, 0] + 0.1 * NOISE[:, 1]))
    assert correlation(audio) == pytest.approx(covariance / np.mean(audio.powers), rel=1e-3)
    assert level_difference_db(audio) == pytest.approx(10 * np.log10(audio.powers[0] / audio.powers[1]))
    many = measured(tmp_path, *(NOISE.T + NOISE[:, :1].T))
    assert correlation(many) > 0.5


def test_every_choice_selects_the_same_channel_of_all_files():
    assert [selection.suffix for selection in selections("both", [1, 1])] == [""]
    assert [selection.suffix for selection in selections("both", [1, 2])] == ["-left", "-right"]
    assert [selection.suffix for selection in selections("both", [8])] == [
        f"-channel-{number}" for number in range(1, 9)
    ]
    (right,) = selections("right", [2, 1])
    assert [right.channel_of(count) for count in (1, 2, 8)] == [0, 1, 1]
    (average,) = selections("average", [2])
    assert [average.channel_of(count) for count in (1, 2)] == [0, None]
    with pytest.raises(UserError, match="channel 'middle' -- expected one of average, left, right, both"):
        check_choice("middle")


def test_a_note_counts_the_files_and_names_one(tmp_path):
    right = measured(tmp_path, 0 * NOISE[:, 0], NOISE[:, 0])
    same = measured(tmp_path, NOISE[:, 0], NOISE[:, 0])
    files = {tmp_path / "right.wav": right, tmp_path / "same.wav": same}
    note = channel_note(files, "choose one")
    assert "1 of 2 files of several channels" in note
    assert "right.wav (99 dB apart" in note
    assert note.endswith("choose one")
    assert channel_note({tmp_path / "same.wav": same}, "") is None


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_correlation_of_equally_loud_channels_is_the_mean_of_numpy_over_pairs(tmp_path, count):
    channels = np.random.default_rng(count).normal(0, 0.1, (count, 4_000))
    channels[1:] += 0.7 * channels[0]
    channels -= channels.mean(axis=1, keepdims=True)
    channels *= 0.1 / channels.std(axis=1, keepdims=True)
    pairs = np.corrcoef(channels)[np.triu_indices(count, 1)]
    assert correlation(measured(tmp_path, *channels)) == pytest.approx(pairs.mean(), abs=1e-4)
