"""Lhotse's recordings over the one decoder: how they are made of files, and how their samples are read.

Lhotse keeps what it is good at, channels and transforms; its chain of decoders, each with another idea of
an MP3's length, is never asked. A recording's length is the one its samples were counted to have.
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

SLACK_SECONDS: Seconds = 0.1  # read beyond what a manifest says, to see that a file is longer


def recording_of(path: Path, measured: AudioMeasurement) -> Recording:
    """A recording of a file, all channels of it."""
    channels = list(range(measured.num_channels))
    return Recording(
        id=path.stem,
        sources=[AudioSource("file", channels, str(path.absolute()))],
        sampling_rate=measured.rate,
        num_samples=measured.num_samples,
        duration=measured.seconds,
        channel_ids=channels,
    )


def before_transforms(rate: int, seconds: Seconds, transforms: Sequence[Any] | None) -> tuple[int, Seconds]:
    """Rate and length of the file behind a recording."""
    named = [one if isinstance(one, Mapping) else one.to_dict() for one in transforms or ()]
    settings = [(one.get("name"), one.get("kwargs") or {}) for one in named]
    rates = [kwargs["source_sampling_rate"] for name, kwargs in settings if name == "Resample"]
    for name, kwargs in settings:
        if name in ("Speed", "Tempo"):
            seconds *= kwargs["factor"]
    return (rates[0] if rates else rate), seconds


@dataclass
class DecodedSource(AudioSource):
    """A source whose samples come from the one decoder, compared with what its recording says."""

    rate: int = 0
    seconds: Seconds = 0.0

    def load_audio(
        self,
        offset: Seconds = 0.0,
        duration: Seconds | None = None,
        force_opus_sampling_rate: int | None = None,
    ) -> np.ndarray[Any, np.dtype[np.float32]]:
        """(C, N) of a stretch, of the rest where no duration is given.

        Raises:
            AudioError: the file is missing, damaged, or has another rate, length or number of channels.
        """
        name = "its audio" if isinstance(self.source, bytes) else self.source
        wanted = self.seconds - offset if duration is None else duration
        place = self._place()
        decoded = decode.read(
            place, offset, wanted + SLACK_SECONDS if duration is None else wanted, name=name
        )
        wave = self._chosen(decoded.wave, name)
        if decoded.rate != self.rate:
            if not decoded.is_any_rate:
                raise AudioError(
                    f"{name} has {decoded.rate} Hz where its manifest says {self.rate} Hz", "rate"
                )
            wave = Resample(decoded.rate, self.rate)(wave)
        there = wave.shape[1] / self.rate
        if there < wanted - TOLERANCE:
            raise AudioError(f"{name} ends at {offset + there:.2f} s of {offset + wanted:.2f} s", "short")
        if there > wanted + TOLERANCE:
            raise AudioError(f"{name} is longer than the {self.seconds:.2f} s of its manifest", "short")
        return wave

    def _chosen(self, wave: decode.Wave, name: str) -> decode.Wave:
        """The channels that are named, where the file has others besides them."""
        if len(wave) == len(self.channels):
            return wave
        if max(self.channels) >= len(wave):
            raise AudioError(f"{name} has {len(wave)} channels where its manifest names {self.channels}")
        return wave[self.channels]

    def _place(self) -> decode.PathOrBytes:
        if isinstance(self.source, bytes):
            return BytesIO(self.source)
        if self.type == "shar" and shar.Stretch.of(self.source) is None:
            raise DataError("its audio is in no tar; export the cut-set again")
        try:
            return shar.open_source(self.source)
        except FileNotFoundError as error:
            raise AudioError(f"{self.source} is missing", "missing") from error


def with_decoder(recording: Recording) -> Recording:
    """The same recording, read by the one decoder."""
    rate, seconds = before_transforms(recording.sampling_rate, recording.duration, recording.transforms)
    sources = [
        DecodedSource(one.type, one.channels, one.source, None, rate, seconds) for one in recording.sources
    ]
    return fastcopy(recording, sources=sources)


def samples_of(cut: Cut, others: Sequence[str]) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
    """(C, N) of the cut itself and of the further clips that stand in its ``custom`` under these names."""
    waves = [fastcopy(cut, recording=with_decoder(cut.recording)).load_audio()]
    for name in others:
        waves.append(with_decoder(cut.custom[name]).load_audio())
    return waves
