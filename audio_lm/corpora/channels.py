"""Which channels a clip is made of: the average of all, one of them, or each as a clip of its own.

One rule for all corpora and imports, and for every clip of a conversation. Files of one channel are the
same under all of it. Where an average would lose something, a note says so.
"""

from collections.abc import Mapping, Sequence
from math import inf, log10
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from lhotse import MonoCut, MultiCut, Recording
from lhotse.cut.data import DataCut
from lhotse.utils import fastcopy

from audio_lm.common.errors import UserError
from audio_lm.data.audio.decode import AudioMeasurement

Choice = Literal["average", "left", "right", "both"]
AVERAGE: Choice = "average"
MOST_DECIBELS = 10.0  # between the loudest and the quietest channel
LEAST_CORRELATION = 0.3
"""Under it the average loses over 1.9 dB of two channels; microphones of one room have 0.5 to 1."""


class Selection(NamedTuple):
    """What one cut takes of its files."""

    suffix: str  # of its id
    channel: int | None  # the last one where there are fewer; none is all of them

    def channel_of(self, num_channels: int) -> int | None:
        """The channel of a file; none where all of several are averaged."""
        if num_channels == 1:
            return 0
        return None if self.channel is None else min(self.channel, num_channels - 1)


def check_choice(choice: str) -> Choice:
    """A choice that exists.

    Raises:
        UserError: it does not.
    """
    for known in get_args(Choice):
        if choice == known:
            return known
    raise UserError(f"channel {choice!r} -- expected one of {', '.join(get_args(Choice))}; choose one")


def selections(choice: Choice, num_channels: Sequence[int]) -> list[Selection]:
    """The cuts that are made of a row.

    Args:
        num_channels: of each of its files.

    >>> selections("both", [2, 1])
    [Selection(suffix='-left', channel=0), Selection(suffix='-right', channel=1)]
    """
    most = max(num_channels, default=1)
    if choice == "left":
        return [Selection("", 0)]
    if choice == "right":
        return [Selection("", 1)]
    if choice == "both" and most > 1:
        names = ("left", "right") if most == 2 else [f"channel-{number + 1}" for number in range(most)]
        return [Selection(f"-{name}", number) for number, name in enumerate(names)]
    return [Selection("", None)]


def with_channels(cut: MonoCut, selection: Selection) -> DataCut:
    """A cut of the selected channels of all its recordings."""
    cut_id = cut.id + selection.suffix
    channel = selection.channel_of(cut.recording.num_channels)
    channels = cut.recording.channel_ids if channel is None else channel
    supervisions = [
        fastcopy(one, id=cut_id, recording_id=cut_id, channel=channels) for one in cut.supervisions
    ]
    custom = {
        name: _only(one, selection.channel_of(one.num_channels)) for name, one in (cut.custom or {}).items()
    }
    kind = MultiCut if channel is None else MonoCut
    return kind(
        id=cut_id,
        start=cut.start,
        duration=cut.duration,
        channel=channels,
        recording=cut.recording,
        supervisions=supervisions,
        custom=custom or None,
    )


def _only(recording: Recording, channel: int | None) -> Recording:
    """A recording of one channel of a file, or the same of all."""
    if channel is None or recording.num_channels == 1:
        return recording
    sources = [fastcopy(source, channels=[channel]) for source in recording.sources]
    return fastcopy(recording, sources=sources, channel_ids=[channel])


def decibels_apart(measured: AudioMeasurement) -> float:
    """Level of the loudest channel over that of the quietest."""
    quietest, loudest = min(measured.powers), max(measured.powers)
    return 10 * log10(loudest / quietest) if quietest > 0 else (inf if loudest > 0 else 0.0)


def correlation(measured: AudioMeasurement) -> float:
    """Of two channels on average, from their power and that of their average; 1 where they are the same."""
    count, mean = len(measured.powers), sum(measured.powers) / len(measured.powers)
    return (count * measured.mean_power / mean - 1) / (count - 1) if mean > 0 else 1.0


def differs(measured: AudioMeasurement) -> bool:
    """Whether an average would lose some of what the channels hold."""
    is_several = len(measured.powers) > 1
    return is_several and (
        decibels_apart(measured) > MOST_DECIBELS or correlation(measured) < LEAST_CORRELATION
    )


def note_on(files: Mapping[Path, AudioMeasurement], remedy: str) -> str | None:
    """A note about files whose channels are averaged though they differ strongly.

    Args:
        remedy: what to do about it.
    """
    several = [path for path, measured in files.items() if measured.num_channels > 1]
    different = [path for path in several if differs(files[path])]
    if not different:
        return None
    first = files[different[0]]
    return (
        f"{len(different)} of {len(several)} files of several channels have channels that differ strongly, such as "
        f"{different[0]} ({min(decibels_apart(first), 99):.0f} dB apart, correlation {correlation(first):.2f}); "
        f"they are averaged; {remedy}"
    )
