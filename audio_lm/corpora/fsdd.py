"""Free Spoken Digit Dataset (FSDD): single digits and digit strings.

A string concatenates recordings of one speaker, so the time of every word is exact. Takes 0 to 4 of each
digit and speaker are the official test set, 5 to 7 are for validation (ours), the rest for training. A second
family of strings excludes one speaker from training and tests on that speaker only.

Source: https://github.com/Jakobovski/free-spoken-digit-dataset, readme, "Usage".
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from audio_lm.common.errors import RecipeError, unknown
from audio_lm.common.protocols import Report
from audio_lm.common.rng import random_for
from audio_lm.corpora.fsdd_source import ARCHIVE_URL, RecordedDigit, load_recordings
from audio_lm.corpora.settings import parse_settings
from audio_lm.corpora.synthetic.speech_mix import draw_silence, mix_waves
from audio_lm.corpora.synthetic.speech_sentences import DIGITS
from audio_lm.corpora.synthetic.speech_synthesis import Unit, duration_of
from audio_lm.corpora.synthetic.words import write_words
from audio_lm.corpora.synthetic.writing import CutWriter
from audio_lm.data.audio.decode import Wave

VERSION = 1  # increased whenever the same settings give other clips

NUM_TEST, NUM_VALIDATION = 5, 3
MIN_WORDS, MAX_WORDS = 2, 5
MIN_GAP, MAX_GAP = 0.02, 0.3
FADE_SAMPLES = 40  # hides the step from silence to a recording's background noise
HONESTY = {"language": "exact", "text": "exact", "units": "exact"}

Pool = Mapping[str, Sequence[RecordedDigit]]
"""Speaker -> recordings."""


@dataclass(frozen=True)
class FsddSettings:
    """Number of strings, and the augmentation of training strings."""

    source: str = ""
    """Folder of the recordings; empty for ``AUDIO_LM_DATA/fsdd`` and, where that is missing, a download."""

    url: str = ARCHIVE_URL
    """Archive to download."""

    strings: int = 6000
    """Number of training strings; as many again exclude the held-out speaker."""

    validation_clips: int = 128
    """Number of strings in each validation split."""

    test_clips: int = 300
    """Number of strings in each test split."""

    held_out: str = "theo"
    """Speaker excluded from training in the second family of strings."""

    max_speed_change: float = 0.1
    """Maximal relative change of speed and pitch of training words; 0 disables it."""

    noise: bool = True
    """Add light noise to half of the training strings."""

    word_copies: int = 1
    """Number of text rows in audio places for each training string."""

    seed: int = 0
    """Seed of all random choices."""


def read_settings(given: Mapping[str, Any]) -> FsddSettings:
    """Parse the settings of a recipe.

    Raises:
        RecipeError: an unknown key or an invalid value.
    """
    settings = parse_settings(FsddSettings, "fsdd", given)
    if settings.max_speed_change > 0.5:
        raise RecipeError(
            f"corpora.fsdd.max_speed_change is {settings.max_speed_change} -- expected at most 0.5; "
            f"0.1 is usual"
        )
    return settings


def write(folder: Path, final_folder: Path, settings: FsddSettings, report: Report) -> None:
    """Write single digits, strings, and strings without the held-out speaker.

    Raises:
        DataError: the recordings are missing or unusable.
        RecipeError: the held-out speaker has no recordings.
    """
    recorded = load_recordings(settings.source, settings.url, final_folder.parent / "downloads", report)
    speakers = sorted({digit.speaker for digit in recorded})
    held_out = settings.held_out
    if held_out not in speakers:
        raise RecipeError(
            unknown("speaker of corpora.fsdd.held_out:", held_out, speakers, see="corpora.fsdd")
        )
    writer = CutWriter(folder, final_folder)
    for digit in recorded:
        _write_single(writer, digit)
    report(f"fsdd: single, {len(recorded)} recordings by {len(speakers)} speakers")
    families: list[tuple[str, str, Callable[[RecordedDigit], bool]]] = [
        *((f"strings-{split}", split, _is_in(split)) for split in ("train", "validation", "test")),
        (f"strings_without_{held_out}-train", "train", _is_in("train", except_speaker=held_out)),
        (
            f"strings_without_{held_out}-validation",
            "validation",
            _is_in("validation", except_speaker=held_out),
        ),
        (f"strings_{held_out}-test", "test", lambda digit: digit.speaker == held_out),
    ]
    counts = {"train": settings.strings, "validation": settings.validation_clips, "test": settings.test_clips}
    for subset_split, split, is_in in families:
        pool = {
            speaker: [digit for digit in recorded if digit.speaker == speaker and is_in(digit)]
            for speaker in speakers
        }
        pool = {speaker: digits for speaker, digits in pool.items() if digits}
        for number in range(counts[split] if pool else 0):
            rng = random_for(settings.seed, "fsdd", subset_split, number)
            _write_string(writer, subset_split, pool, rng, settings if split == "train" else None)
        report(f"fsdd: {subset_split}, {counts[split]} clips by {len(pool)} speakers")
    string_subsets = ("strings", f"strings_without_{held_out}")
    write_words(writer, subsets=string_subsets, copies=settings.word_copies, seed=settings.seed)
    writer.close()


def split_of_take(take: int) -> str:
    """Split of a recording, by its take.

    >>> split_of_take(4), split_of_take(5), split_of_take(8)
    ('test', 'validation', 'train')
    """
    if take < NUM_TEST:
        return "test"
    return "validation" if take < NUM_TEST + NUM_VALIDATION else "train"


def resample_recording(wave: Wave, speed: float = 1.0) -> Wave:
    """Resample a recording from 8 to 16 kHz; speed 2 halves the duration and raises the pitch by an octave."""
    from scipy.signal import resample_poly  # takes a second to import, and the registry imports this module

    ratio = Fraction(200, round(100 * speed))
    up, down = ratio.numerator, ratio.denominator
    resampled = resample_poly(wave, up, down, window=_lowpass(max(up, down)))
    return np.asarray(resampled, dtype=np.float32)


def _is_in(split: str, *, except_speaker: str = "") -> Callable[[RecordedDigit], bool]:
    return lambda digit: split_of_take(digit.take) == split and digit.speaker != except_speaker


def _write_single(writer: CutWriter, recorded: RecordedDigit) -> None:
    word, wave = DIGITS[recorded.digit], resample_recording(recorded.wave)
    labels = {
        "language": "en",
        "text": word,
        "keyword": word,
        "speaker": recorded.speaker,
        "honesty": {**HONESTY, "keyword": "exact"},
    }
    cut_id = f"single-{recorded.digit}_{recorded.speaker}_{recorded.take}"
    units = [(word, 0.0, duration_of(wave))]
    writer.add(f"single-{split_of_take(recorded.take)}", wave, labels, cut_id=cut_id, units=units)


def _write_string(
    writer: CutWriter,
    subset_split: str,
    pool: Pool,
    rng: np.random.Generator,
    augmentation: FsddSettings | None,
) -> None:
    """Write recordings of one speaker with gaps between them.

    Args:
        augmentation: settings for a training string; None for no augmentation.
    """
    speaker = str(rng.choice(list(pool)))
    chosen = rng.integers(len(pool[speaker]), size=int(rng.integers(MIN_WORDS, MAX_WORDS + 1)))
    start, placed, units = draw_silence(rng), list[tuple[float, Wave]](), list[Unit]()
    change = augmentation.max_speed_change if augmentation else 0.0
    speed = 1.0 + rng.uniform(-change, change)
    for index in chosen:
        recorded = pool[speaker][int(index)]
        wave = _fade_edges(resample_recording(recorded.wave, speed))
        end = start + duration_of(wave)
        placed.append((start, wave))
        units.append((DIGITS[recorded.digit], start, end))
        start = end + rng.uniform(MIN_GAP, MAX_GAP)
    wave = mix_waves(placed, rng, is_noisy=augmentation is not None and augmentation.noise)
    text = " ".join(word for word, _, _ in units)
    labels = {"language": "en", "text": text, "speaker": speaker, "honesty": dict(HONESTY)}
    writer.add(subset_split, wave, labels, units=units)


def _fade_edges(wave: Wave) -> Wave:
    """Apply a short linear fade at both ends, in place."""
    num_samples = min(FADE_SAMPLES, len(wave) // 2)
    ramp = np.linspace(0.0, 1.0, num_samples, dtype=np.float32)
    wave[:num_samples] *= ramp
    wave[len(wave) - num_samples :] *= ramp[::-1]
    return wave


@cache
def _lowpass(max_factor: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Anti-aliasing filter for ``resample_poly``.

    Args:
        max_factor: the larger of the up and down factors.
    """
    from scipy.signal import firwin

    taps = firwin(2 * 16 * max_factor + 1, 0.96 / max_factor, window=("kaiser", 7.0))
    return np.asarray(taps, dtype=np.float32)
