"""Changes of audio that a manifest may ask for: a closed list, because Lhotse builds and runs whatever one names.

An impulse response, for example, is a recording of its own, whose audio may come from a command.

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
MAX_FILTER_STEPS = 50_000  # steps of a resampling filter between two samples; 44 100 Hz to 16 000 Hz has 441
MAX_FILTER_SIZE = 4_000_000  # numbers of the filter that changes a speed; a factor of two places needs 10 000


def check_rate(rate: Any) -> int:
    """A sampling rate that can be brought to 16 kHz.

    Raises:
        InvalidLineError: it is no integer, out of range, or would need a filter of gigabytes.
    """
    low, high = RATES
    if type(rate) is not int or not low <= rate <= high:
        raise InvalidLineError(
            f"a sampling rate of {short_repr(rate)} Hz -- expected an integer from {low} to {high}"
        )
    if rate != SAMPLES_PER_SECOND and max(_steps(rate, SAMPLES_PER_SECOND)) > MAX_FILTER_STEPS:
        raise InvalidLineError(
            f"a sampling rate of {rate} Hz has too little in common with {SAMPLES_PER_SECOND} Hz to be resampled; "
            f"convert the file to a usual rate"
        )
    return rate


def check_transforms(transforms: Any, sampling_rate: int) -> None:
    """Refuse what is not in the closed list, at any place of a recording's chain.

    Args:
        transforms: of a recording, as Lhotse writes them; each a name and its numbers.
        sampling_rate: of the recording, which is that behind its last transform.

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
    for one in reversed(transforms):
        sampling_rate = _checked(one, sampling_rate)


def _checked(transform: Any, rate: int) -> int:
    """The rate before a transform, given that behind it."""
    name = transform.get("name") if isinstance(transform, Mapping) else None
    if not isinstance(name, str) or name not in KEYS_OF:
        raise InvalidLineError(
            f"a transform {short_repr(name if name is not None else transform)} is not applied, for it could run a command "
            f"or open a file -- expected {', '.join(KEYS_OF)}; apply it and write files"
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
        before, behind = (
            check_rate(numbers[key]) for key in ("source_sampling_rate", "target_sampling_rate")
        )
        if behind != rate:
            raise InvalidLineError(
                f"a transform Resample to {behind} Hz, but the recording continues with {rate} Hz"
            )
        if max(_steps(before, behind)) > MAX_FILTER_STEPS:
            raise InvalidLineError(
                f"a transform Resample from {before} to {behind} Hz, rates with too little in common"
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
        for one in (rate, SAMPLES_PER_SECOND):
            if math.prod(_steps(round(one * factor), one)) > MAX_FILTER_SIZE:
                raise InvalidLineError(
                    f"a transform Speed by {factor} needs a filter of gigabytes; give the factor two places"
                )


def _steps(one: int, other: int) -> tuple[int, int]:
    common = math.gcd(one, other)
    return one // common, other // common
