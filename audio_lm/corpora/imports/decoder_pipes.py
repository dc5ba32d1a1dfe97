"""Commands of Kaldi that only decode a named file, such as ``flac -c -d -s a.flac |``: read as that file, never run.

A command is accepted if all its options are known and do not change the audio: formats, sample sizes, verbosity, a rate of
16 kHz (every clip is resampled to it) and one channel (several are averaged, as the programs do). All else is refused.

Source: ``man flac``, ``man sox`` (formats and effects), ``ffmpeg -h``, ``sph2pipe`` 2.5 (usage).
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from audio_lm.common.errors import DataError

CURE = "run it and write its output to a file"
STDOUT = ("-", "pipe:1", "pipe:", "/dev/stdout")
SHELL = re.compile(r"[|&;<>`$*?(){}\n]")
RATE, MONO = re.compile("16000|16k"), re.compile("1")
LONG_FLAGS = {"stdout": "c", "decode": "d"}
FORMAT, BITS = re.compile("[a-z0-9_]+"), re.compile("16|24|32")


@dataclass(frozen=True)
class Decoder:
    """Arguments of a program that do not change the audio."""

    required: frozenset[str] = frozenset()
    """Flags without which the program does not decode."""

    flags: frozenset[str] = frozenset()
    values: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    """Options with a value -> the values that are accepted."""

    of_output: frozenset[str] = frozenset()
    """Options with a value that change the reading of the input if they precede it."""

    has_output: bool = False
    """The last argument is the standard output."""

    input_option: str = ""
    """Option before the input file; if empty, the file is an argument of its own."""


DECODERS: dict[str, Decoder] = {
    "cat": Decoder(),
    "flac": Decoder(
        required=frozenset("cd"),
        flags=frozenset({"c", "d", "s", "F", "f", "stdout", "decode", "silent", "totally-silent", "force"}),
    ),
    "sox": Decoder(
        flags=frozenset({"V0", "V1", "V2", "D", "no-dither", "G", "S"}),
        values={"t": FORMAT, "type": FORMAT, "r": RATE, "rate": RATE, "b": BITS, "bits": BITS, "c": MONO}
        | {"channels": MONO, "e": re.compile("signed-integer|floating-point"), "V": re.compile("[0-6]")},
        of_output=frozenset({"r", "rate", "b", "bits", "c", "channels", "e"}),
        has_output=True,
    ),
    "sph2pipe": Decoder(flags=frozenset("pP"), values={"f": re.compile("wav|rif")}),
    "ffmpeg": Decoder(
        flags=frozenset({"nostdin", "hide_banner", "y", "nostats", "vn"}),
        values={"f": FORMAT, "acodec": re.compile(r"pcm_[sf]\d\dle"), "c:a": re.compile(r"pcm_[sf]\d\dle")}
        | {"ar": RATE, "ac": MONO, "loglevel": FORMAT, "v": FORMAT, "codec:a": re.compile(r"pcm_[sf]\d\dle")},
        of_output=frozenset({"ar", "ac", "acodec", "c:a", "codec:a"}),
        has_output=True,
        input_option="i",
    ),
}


def file_of_pipe(text: str, *, averages: bool = True) -> str:
    """File that a command decodes; a text that does not end with ``|`` is returned unchanged.

    Args:
        averages: the channels of the file will be averaged, so that the command may do so.

    Raises:
        DataError: the command does more than decoding one file.

    >>> file_of_pipe("flac -c -d -s wavs/a.flac |")
    'wavs/a.flac'
    """
    command = text.strip()
    if not command.endswith("|"):
        return text
    try:
        words = shlex.split(command[:-1])
    except ValueError as error:
        raise DataError(f"audio {command!r} is a command with an open quote ({error}); {CURE}") from error
    name = PurePath(words[0]).name if words else ""
    if name not in DECODERS or any(SHELL.search(word) for word in words):
        raise DataError(
            f"audio {command!r} is a command, and commands are not run -- only those that decode one file with "
            f"{', '.join(DECODERS)} are read, as that file; {CURE}"
        )
    try:
        return _file_of(DECODERS[name], words[1:], averages)
    except DataError as error:
        raise DataError(f"audio {command!r} is a command that {error}; {CURE}") from error


def _file_of(decoder: Decoder, words: Sequence[str], averages: bool) -> str:
    """Only input file of a decoder's arguments.

    Raises:
        DataError: an argument may change the audio, or there is no single file.
    """
    files, flags = _parse(decoder, words, averages)
    if not decoder.required <= flags | {LONG_FLAGS.get(flag, flag) for flag in flags}:
        raise DataError("does not decode to the standard output")
    if decoder.has_output and (not files or files.pop() not in STDOUT):
        raise DataError("may change the audio, or does not write it to the standard output at its end")
    if len(files) != 1 or files[0] in STDOUT:
        raise DataError(f"names {len(files)} files -- expected one")
    return files[0]


def _parse(decoder: Decoder, words: Sequence[str], averages: bool) -> tuple[list[str], set[str]]:
    """Files and flags of a decoder's arguments."""
    files, seen = list[str](), set[str]()
    accepted = {name: values for name, values in decoder.values.items() if averages or values is not MONO}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        option = word.lstrip("-")
        if word in STDOUT or not word.startswith("-"):
            files.append(word)
        elif rest and option == decoder.input_option:
            files.append(rest.pop(0))
        elif (
            rest
            and option in accepted
            and accepted[option].fullmatch(rest[0])
            and (files or option not in decoder.of_output)
        ):
            rest.pop(0)
        elif flags := _flags(word, decoder):
            seen |= flags
        else:
            value = f" {rest[0]}" if option in decoder.values and rest else ""
            raise DataError(f"may change the audio by {word + value!r}")
    return files, seen


def _flags(word: str, decoder: Decoder) -> set[str]:
    """Known flags in a word, also of several joined letters such as ``-cds``; empty if one is unknown."""
    option = word.lstrip("-")
    if option in decoder.flags:
        return {option}
    letters = set(option) if not word.startswith("--") else set()
    return letters if letters and letters <= decoder.flags else set()
