"""Child process for speech synthesis with espeak-ng.

Reads requests as JSON lines from standard input and writes, in the same order, a JSON line and 16-bit samples to
standard output. It is a separate process because the library is GPL, has global state and is not thread-safe; only
``speech_synthesis`` starts it.

Source: espeak-ng 1.52, src/include/espeak-ng/speak_lib.h.
"""

import ctypes
import json
import signal
import sys
from pathlib import Path
from typing import Any, BinaryIO

SYNCHRONOUS_RETRIEVAL = 2
WITH_PHONEME_EVENTS = 1
UTF8 = 1
RATE, PITCH, RANGE = 1, 3, 4  # espeak_PARAMETER
LIST_END, WORD, PHONEME = 0, 1, 7  # espeak_EVENT_TYPE


class EventId(ctypes.Union):
    """``id`` of ``espeak_EVENT``."""

    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class Event(ctypes.Structure):
    """``espeak_EVENT``."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", EventId),
    )


CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))


class EspeakLibrary:
    """The loaded library; one per process."""

    def __init__(self, library_path: str, data_path: str) -> None:
        self._variants = {path.name for path in (Path(data_path) / "voices" / "!v").iterdir()}
        self._library = ctypes.CDLL(library_path)
        self.samples_per_second: int = self._library.espeak_Initialize(
            SYNCHRONOUS_RETRIEVAL, 0, data_path.encode(), WITH_PHONEME_EVENTS
        )
        self._callback = CALLBACK(self._collect)  # a reference, or the library would call into freed memory
        self._library.espeak_SetSynthCallback(self._callback)
        self._chunks: list[bytes] = []
        self._events: list[tuple[int, int, int, bytes]] = []

    def speak(self, request: dict[str, Any]) -> tuple[bytes, list[list[int]]]:
        """Waveform, and for each word its position in the text, first and last sample.

        Raises:
            ValueError: the voice is unknown. The library itself ignores unknown variants.
        """
        name: str = request["voice"]
        variant = name.partition("+")[2]
        if (variant and variant not in self._variants) or self._library.espeak_SetVoiceByName(
            name.encode()
        ) != 0:
            raise ValueError(f"espeak-ng has no voice {name!r}")
        for parameter, key in ((RATE, "rate"), (PITCH, "pitch"), (RANGE, "range")):
            self._library.espeak_SetParameter(parameter, request[key], 0)
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(request["seed"]))
        self._chunks.clear()
        self._events.clear()
        text = request["text"].encode()
        self._library.espeak_Synth(text, len(text) + 1, 0, 1, 0, UTF8, None, None)
        wave = b"".join(self._chunks)
        return wave, word_spans(self._events, num_samples=len(wave) // 2)

    def _collect(self, chunk: Any, num_samples: int, events: Any) -> int:
        if num_samples > 0:
            self._chunks.append(ctypes.string_at(chunk, 2 * num_samples))
        index = 0
        while (event := events[index]).type != LIST_END:
            symbol = bytes(event.id.string) if event.type == PHONEME else b""
            self._events.append((event.type, event.text_position, event.sample, symbol))
            index += 1
        return 0


def word_spans(events: list[tuple[int, int, int, bytes]], *, num_samples: int) -> list[list[int]]:
    """Position, first and last sample of every word.

    The event of a word is up to 50 ms before its audio, so a word starts at its first phoneme. It ends at the following
    pause or at the event of the next word.

    >>> word, phoneme = (1, 1, 0, b""), (7, 1, 900, b"w")
    >>> word_spans([word, phoneme, (7, 4, 5000, b"_:"), (1, 5, 5100, b"")], num_samples=9000)
    [[0, 900, 5000], [4, 5100, 9000]]
    """
    words: list[list[int]] = []
    is_open = has_started = False
    for kind, position, sample, symbol in events:
        if kind == WORD:
            if is_open:
                words[-1][2] = sample
            words.append([position - 1, sample, num_samples])
            is_open, has_started = True, False
        elif kind == PHONEME and is_open:
            if symbol.startswith(b"_"):
                words[-1][2], is_open = sample, False
            elif not has_started:
                words[-1][1], has_started = sample, True
    return words


def serve(library: EspeakLibrary, requests: BinaryIO, responses: BinaryIO) -> None:
    """Answer requests until the end of the input."""
    for line in requests:
        try:
            wave, words = library.speak(json.loads(line))
            header: dict[str, Any] = {"num_samples": len(wave) // 2, "words": words}
        except ValueError as error:
            wave, header = b"", {"error": str(error)}
        responses.write(json.dumps(header).encode() + b"\n" + wave)
        responses.flush()


def main() -> None:
    """Run as ``python -m audio_lm.corpora.synthetic.espeak LIBRARY DATA``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and closes the pipe
    library = EspeakLibrary(*sys.argv[1:3])
    sys.stdout.buffer.write(json.dumps({"samples_per_second": library.samples_per_second}).encode() + b"\n")
    sys.stdout.buffer.flush()  # the parent reads this before it sends a request
    serve(library, sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
