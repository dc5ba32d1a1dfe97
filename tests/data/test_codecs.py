"""Files of all codecs and headers: complete files are read as by ffmpeg, truncated ones are refused or read as far."""

import pytest

from audio_lm.data.audio import decode
from audio_lm.data.audio.errors import AudioError
from tests.data.audio_files import ENCODED, ape, id3v1, id3v2, seconds_by_ffmpeg, tone, wav_of_size, write_all

TAGS = {
    "id3v1": lambda content: content + id3v1(),
    "id3v2": lambda content: id3v2() + content,
    "ape": lambda content: content + ape() + id3v1(),
    "zeros": lambda content: content + bytes(800),
}
TAGGED = ("mp3-xing", "mp3-bare", "mp3-vbr-bare", "mp2", "aac-adts")
STREAMS = {"zero": 0, "max": 0xFFFFFFFF, "int": 0x7FFFFFFF, "sox": 0x7FFFF000, "alsa": 0x80000000}
CUTS = {"half": lambda count: count // 2 + 101, "most": lambda count: count * 9 // 10 + 53}
UNSEEN = ("stream", "size", "mka", "webm", "aac-parts", "wma")
"""Formats in which truncation may not be detected: the length is not written, or it is rounded."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("codecs")


@pytest.fixture(scope="module")
def whole(folder):
    files = write_all(folder)
    for kind in TAGGED:
        path = files[f"{kind}-44k"]
        for name, change in TAGS.items():
            files[f"{kind}-{name}"] = folder / f"{kind}-{name}{path.suffix}"
            files[f"{kind}-{name}"].write_bytes(change(path.read_bytes()))
    for name, size in STREAMS.items():
        files[f"size-{name}"] = folder / f"size-{name}.wav"
        files[f"size-{name}"].write_bytes(wav_of_size(tone(16_000), 16_000, size))
    return files


@pytest.fixture(scope="module")
def by_ffmpeg(folder, whole):
    return seconds_by_ffmpeg(folder, list(whole.values()))


def test_there_are_hundreds_of_files_of_at_least_twelve_codecs(whole):
    codecs = {options.split("-c:a ")[1].split()[0] for _, options in ENCODED.values()}
    assert len(codecs) >= 12, codecs
    assert len(whole) + len(CUTS) * len(whole) > 400


def test_complete_files_are_accepted_with_the_length_that_ffmpeg_decodes(whole, by_ffmpeg):
    wrong = {}
    for name, path in whole.items():
        measured = decode.measure(str(path))
        decoded = decode.read(str(path))
        if abs(measured.seconds - by_ffmpeg[path]) > 0.001 or decoded.wave.shape[1] != measured.num_samples:
            wrong[name] = (measured, decoded.wave.shape, by_ffmpeg[path])
    assert not wrong


def test_a_truncated_file_is_refused_or_read_as_far_as_ffmpeg_reads_it(folder, whole):
    accepted, refused = {}, {}
    for name, path in whole.items():
        for cut, length in CUTS.items():
            content = path.read_bytes()
            broken = folder / f"{cut}-{name}{path.suffix}"
            broken.write_bytes(content[: length(len(content))])
            try:
                accepted[broken] = decode.measure(str(broken)).seconds
            except AudioError as error:
                refused[broken] = str(error)
    assert all(str(path) in message for path, message in refused.items())
    undetected = [path.name for path in accepted if not any(kind in path.name for kind in UNSEEN)]
    assert not undetected
    decoded = seconds_by_ffmpeg(folder, list(accepted))
    wrong = {path: seconds for path, seconds in accepted.items() if abs(seconds - decoded[path]) > 0.001}
    assert not wrong
