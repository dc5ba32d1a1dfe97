"""Speech synthesis: sentences to waveforms with word times, by a child process with espeak-ng.

Starts the child process of ``espeak.py``, keeps several requests in flight so that both processes are busy, and
resamples the result.
"""

import importlib.util
import itertools
import json
import math
import os
import subprocess
import sys
from collections import deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from audio_lm.common.audio_units import SAMPLES_PER_SECOND
from audio_lm.data.audio.decode import Wave

PACKAGE = "espeakng_loader"
LIBRARY = {"win32": "espeak-ng.dll", "darwin": "libespeak-ng.dylib"}
ESPEAK_SAMPLES_PER_SECOND = 22_050
UP, DOWN = 320, 441  # 22 050 -> 16 000
MAX_IN_FLIGHT = 16  # all of these short requests fit into the pipe, so the processes cannot deadlock
PIPE_BYTES = 1 << 20  # several clips, so that the child continues while the parent mixes

Unit = tuple[str, float, float]


@dataclass(frozen=True)
class Sentence:
    """Text to synthesize, with voice and prosody."""

    text: str
    voice: str
    """Language or accent, ``+``, variant."""

    pitch: int = 50
    """0 to 99; 50 is the voice's own."""

    range: int = 50
    """0 is monotonous; 50 is the voice's own."""

    rate: int = 175
    """Words per minute."""

    seed: int = 1
    """Seed of the breath noise."""

    speed: float = 1.0
    """Tape speed: over 1 is shorter and higher, as by a smaller speaker (Interspeech 2015, Ko et al.)."""


@dataclass(frozen=True)
class Spoken:
    """Synthesized sentence at 16 kHz."""

    text: str
    wave: Wave
    words: list[tuple[int, float, float]]
    """Position in the text, start and end in seconds, for each word of the synthesizer."""

    def units(self) -> list[Unit] | None:
        """Words with their times; None if the synthesizer merged or split words."""
        tokens = tokens_of(self.text)
        if [position for position, _ in tokens] != [position for position, _, _ in self.words]:
            return None
        return [(token, start, end) for (_, token), (_, start, end) in zip(tokens, self.words, strict=True)]


def tokens_of(text: str) -> list[tuple[int, str]]:
    """Words with their start positions; each Chinese character is a word.

    >>> tokens_of("one two"), tokens_of("三五")
    ([(0, 'one'), (4, 'two')], [(0, '三'), (1, '五')])
    """
    tokens: list[tuple[int, str]] = []
    is_inside = False
    for position, character in enumerate(text):
        is_han = "\u4e00" <= character <= "\u9fff"
        if is_inside and not is_han and not character.isspace():
            tokens[-1] = (tokens[-1][0], tokens[-1][1] + character)
        elif not character.isspace():
            tokens.append((position, character))
        is_inside = not is_han and not character.isspace()
    return tokens


def has_synthesizer() -> bool:
    """Check whether the package of the synthesizer is installed, without loading it."""
    return importlib.util.find_spec(PACKAGE) is not None


class SpeechSynthesizer:
    """Running child process; a context manager."""

    def __init__(self) -> None:
        folder = Path(str(importlib.util.find_spec(PACKAGE).origin)).parent  # type: ignore[union-attr]
        library = folder / LIBRARY.get(sys.platform, "libespeak-ng.so")
        root = str(Path(__file__).parents[3])
        paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        self._child = subprocess.Popen(
            [sys.executable, "-m", "audio_lm.corpora.synthetic.espeak", library, folder / "espeak-ng-data"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pipesize=PIPE_BYTES,
            env={**os.environ, "PYTHONPATH": paths},
        )
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._requests, self._answers = self._child.stdin, self._child.stdout
        self._is_open = True
        rate = self._read_header()["samples_per_second"]
        if rate != ESPEAK_SAMPLES_PER_SECOND:
            raise RuntimeError(f"espeak-ng has {rate} Hz -- expected {ESPEAK_SAMPLES_PER_SECOND}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        self._child.kill()
        self._child.communicate()

    def synthesize(self, sentences: Iterable[Sentence]) -> Generator[Spoken, None, None]:
        """Synthesize sentences lazily and in order; the input may be infinite.

        Raises:
            ValueError: the voice is unknown.
        """
        in_flight: deque[Sentence] = deque()
        try:
            for sentence in sentences:
                self._requests.write(json.dumps(vars(sentence)).encode() + b"\n")
                self._requests.flush()
                in_flight.append(sentence)
                if len(in_flight) == MAX_IN_FLIGHT:
                    yield self._read_answer(in_flight.popleft())
            while in_flight:
                yield self._read_answer(in_flight.popleft())
        except GeneratorExit:
            for sentence in in_flight if self._is_open else ():  # drain the pipe for the next caller
                self._read_answer(sentence)
            raise

    def _read_answer(self, sentence: Sentence) -> Spoken:
        header = self._read_header()
        if "error" in header:
            raise ValueError(header["error"])
        wave = np.frombuffer(self._answers.read(2 * header["num_samples"]), dtype="<i2")
        down = _coprime(round(DOWN * sentence.speed))
        rate = SAMPLES_PER_SECOND * down / UP
        words = [(position, start / rate, end / rate) for position, start, end in header["words"]]
        return Spoken(sentence.text, resample_speech(wave, down), words)

    def _read_header(self) -> dict[str, Any]:
        line = self._answers.readline()
        if not line:
            raise RuntimeError(f"espeak-ng stopped with exit code {self._child.wait()}")
        header: dict[str, Any] = json.loads(line)
        return header


def resample_speech(wave: np.ndarray[Any, np.dtype[np.int16]], down: int = DOWN) -> Wave:
    """Resample from 22 050 Hz without delay; full scale is 1.

    Args:
        down: number of input samples per ``UP`` output samples; over ``DOWN`` is a faster tape.
    """
    from scipy.signal import resample_poly  # imports in about 1 s, and the registry imports this module

    resampled = resample_poly(wave.astype(np.float32) / 32768.0, UP, down, window=_lowpass(down))
    return np.asarray(resampled, dtype=np.float32)


def _coprime(down: int) -> int:
    """Next number coprime to ``UP``; otherwise ``resample_poly`` reduces the ratio and the filter does not fit."""
    return next(number for number in itertools.count(down) if math.gcd(number, UP) == 1)


@cache
def _lowpass(down: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    from scipy.signal import firwin

    return np.asarray(firwin(2 * 18 * down + 1, 0.96 / down, window=("kaiser", 7.0)), dtype=np.float32)


def duration_of(wave: Wave) -> float:
    """Duration of a wave in seconds."""
    return len(wave) / SAMPLES_PER_SECOND
