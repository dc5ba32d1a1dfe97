"""Real speech: the Free Spoken Digit Dataset, one digit at a time and as digit strings.

Strings are recordings of one speaker, one behind the other, so the time of every word is
known by construction. Recordings 0 to 4 of each digit and speaker are the official
test set; we take 5 to 7 for validation and train on the rest. A second family
of strings leaves one speaker out of training and is tested on that speaker alone.

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
from audio_lm.common.runtime import random_for
from audio_lm.corpora.fsdd_source import ARCHIVE_URL, Recorded, recordings
from audio_lm.corpora.settings import Report, settings_of
from audio_lm.corpora.synthetic.speech_mix import mixed, silence
from audio_lm.corpora.synthetic.speech_sentences import DIGITS
from audio_lm.corpora.synthetic.speech_spoken import Unit, seconds_of
from audio_lm.corpora.synthetic.words import write_words
from audio_lm.corpora.synthetic.writing import CutWriter, Wave

VERSION = 1  # raised whenever the same settings give other clips

NUM_TEST, NUM_VALIDATION = 5, 3
LEAST_WORDS, MOST_WORDS = 2, 5
LEAST_GAP, MOST_GAP = 0.02, 0.3
FADE = 40  # samples; hides the step from silence into a recording's own noise
HONESTY = {"language": "exact", "text": "exact", "units": "exact"}

Pool = Mapping[str, Sequence[Recorded]]
"""Speaker -> recordings."""


@dataclass(frozen=True)
class FsddSettings:
    """Which strings are made of the recordings, and how they are varied for training."""

    source: str = ""
    """Folder of the recordings; empty for ``AUDIO_LM_DATA/fsdd`` and, where that is missing, a download."""

    url: str = ARCHIVE_URL
    """The archive that is downloaded."""

    strings: int = 6000
    """Training strings, and as many again without the speaker that is held out."""

    validation_clips: int = 128
    """Strings of every validation split."""

    test_clips: int = 300
    """Strings of every test split."""

    held_out: str = "theo"
    """The speaker whom one family of strings never hears in training."""

    max_speed_change: float = 0.1
    """Training words are up to this much faster or slower, pitch included; 0 leaves them as they are."""

    noise: bool = True
    """Light noise on half of the training strings."""

    word_copies: int = 1
    """Rows of text in audio places for each training string."""

    seed: int = 0
    """Of everything."""


def read_settings(given: Mapping[str, Any]) -> FsddSettings:
    """The settings, defaults filled in.

    Raises:
        RecipeError: an unknown key or a value that cannot be.
    """
    settings = settings_of(FsddSettings, "fsdd", given)
    if settings.max_speed_change > 0.5:
        raise RecipeError(
            f"corpora.fsdd.max_speed_change is {settings.max_speed_change} -- expected at most 0.5; "
            f"0.1 is usual"
        )
    return settings


def write(folder: Path, final_folder: Path, settings: FsddSettings, report: Report) -> None:
    """Write single digits, strings, and strings that leave one speaker out.

    Raises:
        DataError: the recordings cannot be had.
        RecipeError: the speaker to be held out is not among them.
    """
    found = recordings(settings.source, settings.url, final_folder.parent / "downloads", report)
    speakers = sorted({one.speaker for one in found})
    held_out = settings.held_out
    if held_out not in speakers:
        raise RecipeError(
            unknown("speaker of corpora.fsdd.held_out:", held_out, speakers, see="corpora.fsdd")
        )
    writer = CutWriter(folder, final_folder)
    for one in found:
        _write_single(writer, one)
    report(f"fsdd: single, {len(found)} recordings by {len(speakers)} speakers")
    families: list[tuple[str, str, Callable[[Recorded], bool]]] = [
        *((f"strings-{split}", split, _is_in(split)) for split in ("train", "validation", "test")),
        (f"strings_without_{held_out}-train", "train", _is_in("train", but_not=held_out)),
        (f"strings_without_{held_out}-validation", "validation", _is_in("validation", but_not=held_out)),
        (f"strings_{held_out}-test", "test", lambda one: one.speaker == held_out),
    ]
    counts = {"train": settings.strings, "validation": settings.validation_clips, "test": settings.test_clips}
    for subset_split, split, is_in in families:
        pool = {
            speaker: [one for one in found if one.speaker == speaker and is_in(one)] for speaker in speakers
        }
        pool = {speaker: ours for speaker, ours in pool.items() if ours}
        for number in range(counts[split] if pool else 0):
            rng = random_for(settings.seed, "fsdd", subset_split, number)
            _write_string(writer, subset_split, pool, rng, settings if split == "train" else None)
        report(f"fsdd: {subset_split}, {counts[split]} clips by {len(pool)} speakers")
    families_of_words = ("strings", f"strings_without_{held_out}")
    write_words(writer, subsets=families_of_words, copies=settings.word_copies, seed=settings.seed)
    writer.close()


def split_of(take: int) -> str:
    """The split a recording belongs to by its take.

    >>> split_of(4), split_of(5), split_of(8)
    ('test', 'validation', 'train')
    """
    if take < NUM_TEST:
        return "test"
    return "validation" if take < NUM_TEST + NUM_VALIDATION else "train"


def at_16_khz(wave: Wave, speed: float = 1.0) -> Wave:
    """Resample a recording of 8 kHz; twice the speed is half as long and an octave higher."""
    from scipy.signal import resample_poly  # takes a second to import, and the registry imports this module

    ratio = Fraction(200, round(100 * speed))
    up, down = ratio.numerator, ratio.denominator
    resampled = resample_poly(wave, up, down, window=_lowpass(max(up, down)))
    return np.asarray(resampled, dtype=np.float32)


def _is_in(split: str, *, but_not: str = "") -> Callable[[Recorded], bool]:
    return lambda one: split_of(one.take) == split and one.speaker != but_not


def _write_single(writer: CutWriter, one: Recorded) -> None:
    word, wave = DIGITS[one.digit], at_16_khz(one.wave)
    labels = {
        "language": "en",
        "text": word,
        "keyword": word,
        "speaker": one.speaker,
        "honesty": {**HONESTY, "keyword": "exact"},
    }
    cut_id = f"single-{one.digit}_{one.speaker}_{one.take}"
    units = [(word, 0.0, seconds_of(wave))]
    writer.add(f"single-{split_of(one.take)}", wave, labels, cut_id=cut_id, units=units)


def _write_string(
    writer: CutWriter, subset_split: str, pool: Pool, rng: np.random.Generator, varied: FsddSettings | None
) -> None:
    """Some recordings of one speaker with gaps between them.

    Args:
        varied: how the words of a training string are changed; none leaves them as they are.
    """
    speaker = str(rng.choice(list(pool)))
    chosen = rng.integers(len(pool[speaker]), size=int(rng.integers(LEAST_WORDS, MOST_WORDS + 1)))
    start, placed, units = silence(rng), list[tuple[float, Wave]](), list[Unit]()
    change = varied.max_speed_change if varied else 0.0
    speed = 1.0 + rng.uniform(-change, change)
    for index in chosen:
        one = pool[speaker][int(index)]
        wave = _faded(at_16_khz(one.wave, speed))
        end = start + seconds_of(wave)
        placed.append((start, wave))
        units.append((DIGITS[one.digit], start, end))
        start = end + rng.uniform(LEAST_GAP, MOST_GAP)
    wave = mixed(placed, rng, is_noisy=varied is not None and varied.noise)
    text = " ".join(word for word, _, _ in units)
    labels = {"language": "en", "text": text, "speaker": speaker, "honesty": dict(HONESTY)}
    writer.add(subset_split, wave, labels, units=units)


def _faded(wave: Wave) -> Wave:
    """Soft edges."""
    num_samples = min(FADE, len(wave) // 2)
    ramp = np.linspace(0.0, 1.0, num_samples, dtype=np.float32)
    wave[:num_samples] *= ramp
    wave[len(wave) - num_samples :] *= ramp[::-1]
    return wave


@cache
def _lowpass(widest: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Keeps what both rates can carry; ``widest`` is the larger side of their ratio."""
    from scipy.signal import firwin

    taps = firwin(2 * 16 * widest + 1, 0.96 / widest, window=("kaiser", 7.0))
    return np.asarray(taps, dtype=np.float32)
