"""Recordings in the layout of fsdd, made of tones."""

import numpy as np
import pytest
import soundfile

SPEAKERS = ("george", "lucas", "theo")


@pytest.fixture(scope="session")
def spoken_digits(tmp_path_factory):
    """Folder with nine takes of three digits by three speakers; each take has its own pitch."""
    folder = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(0)
    for digit in range(3):
        for number, speaker in enumerate(SPEAKERS):
            for take in range(9):
                times = np.arange(1_600 + 100 * digit) / 8_000
                tone = 0.5 * np.sin(2 * np.pi * (200 + 300 * number + 100 * digit + 7 * take) * times)
                tone += 0.01 * rng.standard_normal(len(times))
                soundfile.write(folder / f"{digit}_{speaker}_{take}.flac", tone, 8_000)
    return folder
