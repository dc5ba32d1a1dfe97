"""Create Lhotse recordings from files, and load their samples with ``decode``.

Lhotse selects channels and applies transforms. Its own decoder back-ends are not used, because they disagree about the
length of an MP3. A recording has the length that was measured by ``decode``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from lhotse import AudioSource, Recording
from lhotse.augmentation import Resample
from lhotse.cut import Cut
from lhotse.utils import fastcopy

from audio_lm.common.audio_units import Seconds
from audio_lm.common.errors import DataError
from audio_lm.data.audio import decode
from audio_lm.data.audio.decode import TOLERANCE, AudioMeasurement
from audio_lm.data.audio.errors import AudioError
from audio_lm.data.manifest import shar

SLACK_SECONDS: Seconds = 0.1  # read beyond the length in the manifest, to detect a longer file


def recording_of(path: Path, measured: AudioMeasurement) -> Recording:
    """Recording of all channels of a file, or of a byte range of a tar."""
    channels = list(range(measured.num_channels))
    is_file = shar.ByteRange.of(str(path)) is None
    return Recording(
        id=path.stem if is_file else path.name,
        sources=[AudioSource("file" if is_file else "shar", channels, str(path.absolute()))],
        sampling_rate=measured.rate,
        num_samples=measured.num_samples,
        duration=measured.seconds,
        channel_ids=channels,
    )


def before_transforms(rate: int, seconds: Seconds, transforms: Sequence[Any] | None) -> tuple[int, Seconds]:
    """Sampling rate and length of the file of a recording, before its transforms."""
    tables = [
        transform if isinstance(transform, Mapping) else transform.to_dict() for transform in transforms or ()
    ]
    settings = [(table.get("name"), table.get("kwargs") or {}) for table in tables]
    rates = [kwargs["source_sampling_rate"] for name, kwargs in settings if name == "Resample"]
    for name, kwargs in settings:
        if name in ("Speed", "Tempo"):
            seconds *= kwargs["factor"]
    return (rates[0] if rates else rate), seconds


@dataclass
class DecodedSource(AudioSource):
    """Audio source that is loaded with ``decode`` and compared with the rate and length of its recording."""

    rate: int = 0
    seconds: Seconds = 0.0

    def load_audio(
        self,
        offset: Seconds = 0.0,
        duration: Seconds | None = None,
        force_opus_sampling_rate: int | None = None,
    ) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Load a segment (C, N); to the end without a duration.

        Raises:
            AudioError: the file is missing, damaged, or has another rate, length or number of channels.
        """
        name = "its audio" if isinstance(self.source, bytes) else self.source
        wanted = self.seconds - offset if duration is None else duration
        file = self._open()
        decoded = decode.read(file, offset, wanted + SLACK_SECONDS if duration is None else wanted, name=name)
        wave = self._select_channels(decoded.wave, name)
        if decoded.rate != self.rate:
            if not decoded.is_any_rate:
                raise AudioError(
                    f"{name} has {decoded.rate} Hz where its manifest states {self.rate} Hz", "rate"
                )
            wave = Resample(decoded.rate, self.rate)(wave)
        seconds = wave.shape[1] / self.rate
        if seconds < wanted - TOLERANCE:
            raise AudioError(f"{name} ends at {offset + seconds:.2f} s of {offset + wanted:.2f} s", "short")
        if seconds > wanted + TOLERANCE:
            raise AudioError(f"{name} is longer than the {self.seconds:.2f} s of its manifest", "short")
        return wave

    def _select_channels(self, wave: decode.Wave, name: str) -> decode.Wave:
        """Select the channels of this source if the file has others, too."""
        if len(wave) == len(self.channels):
            return wave
        if max(self.channels) >= len(wave):
            raise AudioError(f"{name} has {len(wave)} channels where its manifest names {self.channels}")
        return wave[self.channels]

    def _open(self) -> decode.PathOrBytes:
        if isinstance(self.source, bytes):
            return BytesIO(self.source)
        if self.type == "shar" and shar.ByteRange.of(self.source) is None:
            raise DataError("its audio is not in a tar file; export the cut-set again")
        try:
            return shar.open_source(self.source)
        except FileNotFoundError as error:
            raise AudioError(f"{self.source} is missing", "missing") from error


def with_decoder(recording: Recording) -> Recording:
    """Copy of a recording that is loaded with ``decode``."""
    rate, seconds = before_transforms(recording.sampling_rate, recording.duration, recording.transforms)
    sources = [
        DecodedSource(source.type, source.channels, source.source, None, rate, seconds)
        for source in recording.sources
    ]
    return fastcopy(recording, sources=sources)


def samples_of(cut: Cut, others: Sequence[str]) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
    """Load the samples (C, N) of a cut and of the further clips in these fields of its ``custom``."""
    waves = [fastcopy(cut, recording=with_decoder(cut.recording)).load_audio()]
    for name in others:
        waves.append(with_decoder(cut.custom[name]).load_audio())
    return waves
