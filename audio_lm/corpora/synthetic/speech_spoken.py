"""Sentences in, waveforms with word times out: this side of the pipe to espeak-ng.

Starts the child of ``espeak.py``, keeps a few requests on their way so that both
cores work, and resamples. Knows voices by name only; what is said is decided
elsewhere.
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
from audio_lm.corpora.synthetic.writing import Wave

PACKAGE = "espeakng_loader"
LIBRARY = {"win32": "espeak-ng.dll", "darwin": "libespeak-ng.dylib"}
SAMPLES_PER_SECOND_SPOKEN = 22_050
UP, DOWN = 320, 441  # 22 050 -> 16 000
ON_THEIR_WAY = 16  # requests are short: all of them fit into the pipe, so nobody waits for anybody forever
PIPE_BYTES = 1 << 20  # room for a few clips, so that the child goes on while we mix

Unit = tuple[str, float, float]


@dataclass(frozen=True)
class Sentence:
    """Something to be said, and how."""

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
    """Of the breath noise."""

    speed: float = 1.0
    """Of the tape: over 1 is shorter and higher, as from a smaller speaker (Interspeech 2015, Ko et al.)."""


@dataclass(frozen=True)
class Spoken:
    """A sentence as it sounds at 16 kHz."""

    text: str
    wave: Wave
    words: list[tuple[int, float, float]]
    """Position in the text, start and end in seconds, of what the synthesiser took for a word."""

    def units(self) -> list[Unit] | None:
        """The words with their times; none where the synthesiser merged or split words."""
        tokens = tokens_of(self.text)
        if [position for position, _ in tokens] != [position for position, _, _ in self.words]:
            return None
        return [(token, start, end) for (_, token), (_, start, end) in zip(tokens, self.words, strict=True)]


def tokens_of(text: str) -> list[tuple[int, str]]:
    """Words and where they start; each Chinese character is a word.

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


def has_speech() -> bool:
    """Whether the wheel with the synthesiser is installed; nothing of it is loaded."""
    return importlib.util.find_spec(PACKAGE) is not None


class Speaker:
    """The running child; a context."""

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
        rate = self._header()["samples_per_second"]
        if rate != SAMPLES_PER_SECOND_SPOKEN:
            raise RuntimeError(f"espeak-ng speaks at {rate} Hz, not {SAMPLES_PER_SECOND_SPOKEN}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        self._child.kill()
        self._child.communicate()

    def say(self, sentences: Iterable[Sentence]) -> Generator[Spoken, None, None]:
        """Say one after the other, in order; endless input is fine, whoever has enough stops listening.

        Raises:
            ValueError: espeak-ng has no such voice.
        """
        waiting: deque[Sentence] = deque()
        try:
            for sentence in sentences:
                self._requests.write(json.dumps(vars(sentence)).encode() + b"\n")
                self._requests.flush()
                waiting.append(sentence)
                if len(waiting) == ON_THEIR_WAY:
                    yield self._answer(waiting.popleft())
            while waiting:
                yield self._answer(waiting.popleft())
        except GeneratorExit:
            for sentence in waiting if self._is_open else ():  # or the next listener would hear them
                self._answer(sentence)
            raise

    def _answer(self, sentence: Sentence) -> Spoken:
        header = self._header()
        if "error" in header:
            raise ValueError(header["error"])
        wave = np.frombuffer(self._answers.read(2 * header["num_samples"]), dtype="<i2")
        down = _coprime(round(DOWN * sentence.speed))
        rate = SAMPLES_PER_SECOND * down / UP
        words = [(position, start / rate, end / rate) for position, start, end in header["words"]]
        return Spoken(sentence.text, at_16_khz(wave, down), words)

    def _header(self) -> dict[str, Any]:
        line = self._answers.readline()
        if not line:
            raise RuntimeError(f"espeak-ng stopped with exit code {self._child.wait()}")
        header: dict[str, Any] = json.loads(line)
        return header


def at_16_khz(wave: np.ndarray[Any, np.dtype[np.int16]], down: int = DOWN) -> Wave:
    """Resample what was spoken at 22 050 Hz, without delay; full scale is 1.

    Args:
        down: how many samples become ``UP``; over ``DOWN`` is a faster tape.
    """
    from scipy.signal import resample_poly  # takes a second to import, and plans import the registry

    resampled = resample_poly(wave.astype(np.float32) / 32768.0, UP, down, window=_lowpass(down))
    return np.asarray(resampled, dtype=np.float32)


def _coprime(down: int) -> int:
    """The next number that shares no factor with ``UP``; with one, the filter would be of another length."""
    return next(number for number in itertools.count(down) if math.gcd(number, UP) == 1)


@cache
def _lowpass(down: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    from scipy.signal import firwin

    return np.asarray(firwin(2 * 18 * down + 1, 0.96 / down, window=("kaiser", 7.0)), dtype=np.float32)


def seconds_of(wave: Wave) -> float:
    """How long it is."""
    return len(wave) / SAMPLES_PER_SECOND
