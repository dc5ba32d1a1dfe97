"""Allowed transforms of a recording: a closed list, because Lhotse builds and runs any transform that a manifest names.

A reverberation transform, for example, has an impulse response, a recording whose audio may come from a command.

Source: lhotse 1.33, ``augmentation/transform.py`` (``from_dict``), ``augmentation/rir.py``, ``augmentation/resample.py``.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from audio_lm.common.audio_units import SAMPLES_PER_SECOND
from audio_lm.data.manifest.json_lines import InvalidLineError, short_repr

KEYS_OF = {
    "Resample": {"source_sampling_rate", "target_sampling_rate"},
    "Speed": {"factor"},
    "Tempo": {"factor"},
    "Volume": {"factor"},
}
FACTORS = {"Speed": (0.5, 2.0), "Tempo": (0.5, 2.0), "Volume": (0.001, 1000.0)}
MAX_TRANSFORMS = 8  # of one recording
RATES = (1_000, 384_000)  # Hz
MAX_FILTER_STEPS = 50_000  # rate of a resampling ratio in lowest terms; 441 for 44 100 Hz to 16 000 Hz
MAX_FILTER_SIZE = (
    4_000_000  # coefficients of the filter of a speed change; a factor of two decimals needs 10 000
)


def check_rate(rate: Any) -> int:
    """Check that a sampling rate can be resampled to 16 kHz.

    Raises:
        InvalidLineError: the rate is not an integer, out of range, or needs a filter of gigabytes.
    """
    low, high = RATES
    if type(rate) is not int or not low <= rate <= high:
        raise InvalidLineError(
            f"a sampling rate of {short_repr(rate)} Hz -- expected an integer from {low} to {high}"
        )
    if rate != SAMPLES_PER_SECOND and max(_steps(rate, SAMPLES_PER_SECOND)) > MAX_FILTER_STEPS:
        raise InvalidLineError(
            f"a sampling rate of {rate} Hz has too small a common divisor with {SAMPLES_PER_SECOND} Hz to be resampled; "
            f"convert the file to a common rate"
        )
    return rate


def check_transforms(transforms: Any, sampling_rate: int) -> None:
    """Refuse transforms that are not in the closed list.

    Args:
        transforms: of a recording, in Lhotse's JSON form: name and kwargs.
        sampling_rate: of the recording, after its last transform.

    Raises:
        InvalidLineError: names the transform.
    """
    if (
        not isinstance(transforms, Sequence)
        or isinstance(transforms, str)
        or len(transforms) > MAX_TRANSFORMS
    ):
        raise InvalidLineError(
            f"its transforms are {short_repr(transforms)} -- expected a list of at most {MAX_TRANSFORMS}"
        )
    for transform in reversed(transforms):
        sampling_rate = _rate_before(transform, sampling_rate)


def _rate_before(transform: Any, rate: int) -> int:
    """Check a transform; returns the sampling rate before it, given the rate after it."""
    name = transform.get("name") if isinstance(transform, Mapping) else None
    if not isinstance(name, str) or name not in KEYS_OF:
        raise InvalidLineError(
            f"a transform {short_repr(name if name is not None else transform)} is not applied, because it could run a command "
            f"or open a file -- expected {', '.join(KEYS_OF)}; apply it with lhotse's CutSet.save_audios(folder)"
        )
    numbers = transform.get("kwargs")
    if (
        not isinstance(numbers, Mapping)
        or numbers.keys() != KEYS_OF[name]
        or transform.keys() - {"name", "kwargs"}
    ):
        raise InvalidLineError(
            f"a transform {name} with {short_repr(transform)} -- expected {', '.join(sorted(KEYS_OF[name]))}"
        )
    if name == "Resample":
        before, after = (check_rate(numbers[key]) for key in ("source_sampling_rate", "target_sampling_rate"))
        if after != rate:
            raise InvalidLineError(
                f"a transform Resample to {after} Hz, but the recording continues with {rate} Hz"
            )
        if max(_steps(before, after)) > MAX_FILTER_STEPS:
            raise InvalidLineError(
                f"a transform Resample from {before} to {after} Hz, rates with too small a common divisor"
            )
        return before
    _check_factor(name, numbers["factor"], rate)
    return rate


def _check_factor(name: str, factor: Any, rate: int) -> None:
    low, high = FACTORS[name]
    if type(factor) not in (int, float) or not low <= factor <= high:  # NaN is in no range
        raise InvalidLineError(
            f"a transform {name} by {short_repr(factor)} -- expected a number from {low:g} to {high:g}"
        )
    if name == "Speed":
        for hertz in (rate, SAMPLES_PER_SECOND):
            if math.prod(_steps(round(hertz * factor), hertz)) > MAX_FILTER_SIZE:
                raise InvalidLineError(
                    f"a transform Speed by {factor} needs a filter of gigabytes; round the factor to two decimals"
                )


def _steps(rate: int, other: int) -> tuple[int, int]:
    """Both rates, divided by their greatest common divisor."""
    divisor = math.gcd(rate, other)
    return rate // divisor, other // divisor
