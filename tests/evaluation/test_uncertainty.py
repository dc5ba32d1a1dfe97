import pytest

from audio_lm.evaluation.predict import Prediction
from audio_lm.evaluation.uncertainty import scored, units_of


def predictions(right, count, *, speaker=None, path=None, start=0):
    return [
        Prediction(
            f"clip-{number}", "sgc", ("a",), "a" if number < right else "b", "en",
            speaker=speaker and speaker(number), path=path and path(number),
        )
        for number in range(start, start + count)
    ]  # fmt: skip


def test_clips_are_resampled_by_speaker_or_recording_where_they_are_known():
    assert units_of(predictions(1, 4, speaker=lambda n: f"s{n % 2}")).kind == "speakers"
    assert units_of(predictions(1, 4, speaker=lambda n: "one")).kind == "clips"
    assert units_of(predictions(1, 40, path=lambda n: f"r{n // 2}")).kind == "recordings"
    assert units_of(predictions(1, 40, path=lambda n: "one.wav")).kind == "clips", (
        "a container of unrelated clips"
    )
    assert units_of(predictions(1, 40, path=lambda n: f"{n}.wav")).kind == "clips"


def test_a_difference_is_taken_over_common_clips_and_noise_is_named():
    ours, other = scored(predictions(60, 100), "acc"), scored(predictions(58, 90, start=5), "acc")
    found = ours.compare(other)
    assert found.num_clips == 90
    assert found.ours == pytest.approx(55 / 90)
    assert found.other == pytest.approx(53 / 90)
    assert found.interval.value == pytest.approx(2 / 90)
    assert found.is_noise
    clear = ours.compare(scored(predictions(20, 100), "acc"))
    assert not clear.is_noise
    assert clear.interval.low > 0


def test_what_cannot_be_compared_has_no_difference():
    assert scored([], "acc") is None
    assert scored(predictions(1, 4), "ece") is None, "generated answers have no probabilities"
    one, other = (scored(predictions(1, 4, start=start), "acc") for start in (0, 10))
    assert one.compare(other) is None
