"""Audio files of all formats, written by the command ffmpeg and by libsndfile, and their lengths decoded by ffmpeg."""

import io
import struct
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import soundfile

SECONDS = 1.337  # ends within a frame of every codec
SIGNALS = {"16k": (16_000, 1), "44k": (44_100, 2), "48k": (48_000, 1)}
FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()

# Name -> ending, options of the output.
ENCODED = {
    "mp3-xing": ("mp3", "-c:a libmp3lame -b:a 64k"),
    "mp3-bare": ("mp3", "-c:a libmp3lame -b:a 64k -write_xing 0 -id3v2_version 0"),
    "mp3-vbr": ("mp3", "-c:a libmp3lame -q:a 4 -id3v2_version 3 -metadata title=hello"),
    "mp3-vbr-bare": ("mp3", "-c:a libmp3lame -q:a 4 -write_xing 0"),
    "mp3-abr-id3v1": ("mp3", "-c:a libmp3lame -abr 1 -b:a 96k -write_id3v1 1 -metadata title=hello"),
    "mp2": ("mp2", "-c:a mp2 -b:a 96k"),
    "vorbis": ("ogg", "-c:a libvorbis"),
    "vorbis-pages": ("ogg", "-c:a libvorbis -page_duration 100000"),
    "vorbis-webm": ("webm", "-c:a libvorbis"),
    "opus": ("opus", "-c:a libopus"),
    "opus-60": ("ogg", "-c:a libopus -frame_duration 60"),
    "opus-webm": ("webm", "-c:a libopus"),
    "opus-webm-stream": ("webm", "-c:a libopus -seekable 0"),
    "opus-mka": ("mka", "-c:a libopus"),
    "aac": ("m4a", "-c:a aac"),
    "aac-fast": ("m4a", "-c:a aac -movflags +faststart"),
    "aac-no-edits": ("m4a", "-c:a aac -use_editlist 0"),
    "aac-parts": ("mp4", "-c:a aac -movflags +frag_keyframe+empty_moov"),
    "aac-adts": ("aac", "-c:a aac -f adts"),
    "aac-mka": ("mka", "-c:a aac"),
    "alac": ("m4a", "-c:a alac"),
    "ac3": ("ac3", "-c:a ac3 -ar 48000"),
    "ac3-mp4": ("mp4", "-c:a ac3 -ar 48000"),
    "eac3": ("eac3", "-c:a eac3 -ar 48000"),
    "flac": ("flac", "-c:a flac -sample_fmt s16"),
    "flac-stream": ("flac", "-c:a flac -sample_fmt s16 -seekable 0"),
    "flac-ogg": ("oga", "-c:a flac -sample_fmt s16"),
    "flac-mp4": ("mp4", "-c:a flac -sample_fmt s16"),
    "wavpack": ("wv", "-c:a wavpack"),
    "tta": ("tta", "-c:a tta"),
    "wma": ("wma", "-c:a wmav2"),
    "wav": ("wav", "-c:a pcm_s16le"),
    "wav-stream": ("wav", "-c:a pcm_s16le -seekable 0"),
    "wav-adpcm": ("wav", "-c:a adpcm_ms"),
    "wav-ima": ("wav", "-c:a adpcm_ima_wav"),
    "wav-mp3": ("wav", "-c:a libmp3lame"),
    "rf64": ("wav", "-c:a pcm_s16le -rf64 always"),
    "w64": ("w64", "-c:a pcm_s16le"),
    "aiff": ("aiff", "-c:a pcm_s16be"),
    "au-stream": ("au", "-c:a pcm_s16be -seekable 0"),
    "caf": ("caf", "-c:a pcm_s16le"),
    "caf-stream": ("caf", "-c:a pcm_s16le -seekable 0"),
}
WRITTEN = {  # by libsndfile: ending, format, subtype
    "sf-u8": ("wav", "WAV", "PCM_U8"),
    "sf-24": ("wav", "WAV", "PCM_24"),
    "sf-float": ("wav", "WAV", "FLOAT"),
    "sf-mulaw": ("wav", "WAV", "ULAW"),
    "sf-wavex": ("wav", "WAVEX", "PCM_16"),
    "sf-rf64": ("rf64", "RF64", "PCM_24"),
    "sf-w64": ("w64", "W64", "PCM_16"),
    "sf-aiff": ("aiff", "AIFF", "PCM_24"),
    "sf-au": ("au", "AU", "PCM_16"),
    "sf-caf": ("caf", "CAF", "PCM_16"),
    "sf-sphere": ("sph", "NIST", "PCM_16"),
    "sf-vorbis": ("ogg", "OGG", "VORBIS"),
    "sf-mp3": ("mp3", "MP3", "MPEG_LAYER_III"),
}


def tone(rate, channels=1, seconds=SECONDS):
    """Tone (N, C); each channel has another pitch."""
    times = np.arange(round(seconds * rate)) / rate
    hertz = 220 * (1 + np.arange(channels) / 2)
    envelope = 0.6 + 0.4 * np.sin(18 * times)
    return (0.3 * np.sin(2 * np.pi * times[:, None] * hertz) * envelope[:, None]).astype(np.float32)


def ffmpeg(*arguments):
    """Run the command."""
    subprocess.run([FFMPEG, "-v", "error", "-y", *arguments], check=True, stdin=subprocess.DEVNULL)


def write_all(folder: Path) -> dict[str, Path]:
    """Write a file of every format and signal."""
    found, command = {}, []
    for signal, (rate, channels) in SIGNALS.items():
        source = folder / f"source-{signal}.wav"
        soundfile.write(source, tone(rate, channels), rate, subtype="PCM_16")
        command += ["-i", str(source)]
    for number, (signal, (rate, channels)) in enumerate(SIGNALS.items()):
        for kind, (ending, options) in ENCODED.items():
            path = found[f"{kind}-{signal}"] = folder / f"{kind}-{signal}.{ending}"
            command += ["-map", str(number), *options.split(), str(path)]
        for kind, (ending, container, subtype) in WRITTEN.items():
            path = found[f"{kind}-{signal}"] = folder / f"{kind}-{signal}.{ending}"
            soundfile.write(path, tone(rate, channels), rate, format=container, subtype=subtype)
    ffmpeg(*command)
    return found


def seconds_by_ffmpeg(folder: Path, paths: list[Path]) -> dict[Path, float]:
    """Seconds that the command decodes of each file, all in one process."""
    command = []
    for path in paths:
        command += ["-i", str(path)]
    for number, path in enumerate(paths):
        command += [
            "-map",
            f"{number}:a:0",
            "-ac",
            "1",
            "-ar",
            "48000",
            "-f",
            "s16le",
            str(folder / f"{path.name}.raw"),
        ]
    ffmpeg(*command)
    return {path: (folder / f"{path.name}.raw").stat().st_size / 2 / 48_000 for path in paths}


def wav_of_size(wave, rate, size):
    """16-bit PCM with a header that states ``size`` bytes."""
    content = (wave * 32767).astype("<i2").tobytes()
    width = 2 * wave.shape[1]
    head = b"RIFF" + struct.pack("<I", (size + 36) & 0xFFFFFFFF) + b"WAVEfmt "
    head += struct.pack("<IHHIIHH", 16, 1, wave.shape[1], rate, rate * width, width, 16)
    return head + b"data" + struct.pack("<I", size) + content


def sound_file(wave, rate, container="WAV", subtype="PCM_16"):
    """Content of a file."""
    place = io.BytesIO()
    soundfile.write(place, wave, rate, format=container, subtype=subtype)
    return place.getvalue()


def id3v1():
    """ID3v1 tag at the end of a file."""
    return b"TAG" + b"a title".ljust(125, b"\0")


def id3v2(num_bytes=1014):
    """ID3v2 tag at the start of a file."""
    return b"ID3\3\0\0" + bytes([0, 0, num_bytes >> 7, num_bytes & 127]) + bytes(num_bytes)


def ape():
    """APE tag at the end of a file, with header and footer."""
    item = struct.pack("<II", 20, 0) + b"Title\0" + b"x" * 20
    ends = [
        b"APETAGEX" + struct.pack("<IIII", 2000, len(item) + 32, 1, flags) + bytes(8)
        for flags in (0xA0000000, 0x80000000)
    ]
    return ends[0] + item + ends[1]
