import numpy as np
import pytest
from lhotse.augmentation import AudioTransform
from lhotse.testing.dummies import dummy_recording

from audio_lm.data.manifest.json_lines import InvalidLineError
from audio_lm.data.manifest.transforms import KEYS_OF, check_rate, check_transforms


def transform(name, **numbers):
    return {"name": name, "kwargs": numbers}


def resample(before, after):
    return transform("Resample", source_sampling_rate=before, target_sampling_rate=after)


VALID = {
    "none": ([], 16_000),
    "resampled": ([resample(44_100, 16_000)], 16_000),
    "resampled twice": ([resample(48_000, 24_000), resample(24_000, 16_000)], 16_000),
    "faster, louder": ([transform("Speed", factor=1.1), transform("Volume", factor=2)], 22_050),
    "tempo, then rate": ([transform("Tempo", factor=0.9), resample(8_000, 16_000)], 16_000),
}
INVALID = {
    "an impulse response": [transform("ReverbWithImpulseResponse", rir={"sources": []})],
    "after a supported one": [
        transform("Speed", factor=1.1),
        transform("ReverbWithImpulseResponse", rir_generator={}),
    ],
    "a name of Lhotse's": [transform("Compress", codec="opus", compression_level=0.5)],
    "an unknown name": [transform("Explode")],
    "no name": [{"kwargs": {}}],
    "a name that is a list": [{"name": ["Speed"], "kwargs": {"factor": 1.1}}],
    "a text": ["Speed"],
    "an object": {"name": "Speed", "kwargs": {"factor": 1.1}},
    "a text of them": "Speed",
    "no numbers": [{"name": "Speed"}],
    "another number": [transform("Speed", factor=1.1, rir={})],
    "another key": [{"name": "Speed", "kwargs": {"factor": 1.1}, "rir": {}}],
    "a factor that is a text": [transform("Speed", factor="1.1")],
    "a factor that is true": [transform("Volume", factor=True)],
    "a factor that is nothing": [transform("Tempo", factor=None)],
    "no speed": [transform("Speed", factor=0.0)],
    "backwards": [transform("Speed", factor=-1.0)],
    "not finite": [transform("Volume", factor=float("nan"))],
    "infinite": [transform("Volume", factor=float("inf"))],
    "a factor of 5 000 digits": [transform("Volume", factor=10**5000)],
    "a filter of gigabytes": [transform("Speed", factor=0.9137)],
    "rates with nothing in common": [resample(99_991, 16_000)],
    "a rate of a million": [resample(1_000_000, 16_000)],
    "a rate that is a text": [resample("48000", 16_000)],
    "a chain that does not fit": [resample(48_000, 24_000)],
    "very many": [transform("Volume", factor=1.0)] * 9,
}


@pytest.mark.parametrize("kind", VALID)
def test_supported_transforms_are_accepted(kind):
    check_transforms(*VALID[kind])
    for table in VALID[kind][0]:
        AudioTransform.from_dict(table)


@pytest.mark.parametrize("kind", INVALID)
def test_other_transforms_are_refused(kind):
    with pytest.raises(InvalidLineError, match=r"transform|sampling rate"):
        check_transforms(INVALID[kind], 16_000)


def test_the_closed_list_matches_what_lhotse_writes():
    recording = dummy_recording(0).perturb_speed(1.1).perturb_tempo(0.9).perturb_volume(2.0).resample(8_000)
    written = recording.to_dict()["transforms"]
    assert {table["name"] for table in written} == set(KEYS_OF)
    check_transforms(written, 8_000)
    check_transforms(recording.resample(16_000).to_dict()["transforms"], 16_000)


@pytest.mark.parametrize(
    "rate", [0, -16_000, 10**6, 10**4000, 16_000.0, "16000", True, None, 383_987, float("nan")]
)
def test_a_rate_that_cannot_be_resampled_is_refused(rate):
    with pytest.raises(InvalidLineError, match="sampling rate"):
        check_rate(rate)


def test_common_rates_and_speeds_are_accepted():
    for rate in (
        8_000,
        11_025,
        12_000,
        16_000,
        22_050,
        24_000,
        32_000,
        44_056,
        44_100,
        48_000,
        96_000,
        192_000,
    ):
        assert check_rate(rate) == rate
    speeds = np.round(np.arange(0.5, 2.0, 0.01), 2).tolist()
    for factor in speeds:
        check_transforms([transform("Speed", factor=factor)], 16_000)
