"""Channel selection: the average of all channels, one of them, or each channel as a separate clip.

The same rule applies to all corpora and imports, and to every clip of a conversation. Mono files are not
affected. A note reports files for which averaging would lose signal.
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
MAX_LEVEL_DIFFERENCE_DB = 10.0  # between the loudest and the quietest channel
MIN_CORRELATION = 0.3
"""Below it, averaging two channels loses more than 1.9 dB; microphones in the same room have 0.5 to 1."""


class Selection(NamedTuple):
    """Channel that one cut reads from each of its files."""

    suffix: str  # of the cut's id
    channel: int | None  # the last channel where a file has fewer; None averages all

    def channel_of(self, num_channels: int) -> int | None:
        """Index of the channel to read; None to average several channels."""
        if num_channels == 1:
            return 0
        return None if self.channel is None else min(self.channel, num_channels - 1)


def check_choice(choice: str) -> Choice:
    """Validate the setting ``channel``.

    Raises:
        UserError: it is not a ``Choice``.
    """
    for known in get_args(Choice):
        if choice == known:
            return known
    raise UserError(f"channel {choice!r} -- expected one of {', '.join(get_args(Choice))}; choose one")


def selections(choice: Choice, num_channels: Sequence[int]) -> list[Selection]:
    """Selections of channels, one for each cut that a row becomes.

    Args:
        num_channels: of each file of the row.

    >>> selections("both", [2, 1])
    [Selection(suffix='-left', channel=0), Selection(suffix='-right', channel=1)]
    """
    max_channels = max(num_channels, default=1)
    if choice == "left":
        return [Selection("", 0)]
    if choice == "right":
        return [Selection("", 1)]
    if choice == "both" and max_channels > 1:
        names = (
            ("left", "right")
            if max_channels == 2
            else [f"channel-{number + 1}" for number in range(max_channels)]
        )
        return [Selection(f"-{name}", number) for number, name in enumerate(names)]
    return [Selection("", None)]


def select_channels(cut: MonoCut, selection: Selection) -> DataCut:
    """Copy a cut with the selected channel of each of its recordings."""
    cut_id = cut.id + selection.suffix
    channel = selection.channel_of(cut.recording.num_channels)
    channels = cut.recording.channel_ids if channel is None else channel
    supervisions = [
        fastcopy(supervision, id=cut_id, recording_id=cut_id, channel=channels)
        for supervision in cut.supervisions
    ]
    custom = {
        name: _select_channel(recording, selection.channel_of(recording.num_channels))
        for name, recording in (cut.custom or {}).items()
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


def _select_channel(recording: Recording, channel: int | None) -> Recording:
    """Recording of one channel of a file; unchanged for None and for mono."""
    if channel is None or recording.num_channels == 1:
        return recording
    sources = [fastcopy(source, channels=[channel]) for source in recording.sources]
    return fastcopy(recording, sources=sources, channel_ids=[channel])


def level_difference_db(measured: AudioMeasurement) -> float:
    """Level difference in dB between the loudest and the quietest channel."""
    quietest, loudest = min(measured.powers), max(measured.powers)
    return 10 * log10(loudest / quietest) if quietest > 0 else (inf if loudest > 0 else 0.0)


def correlation(measured: AudioMeasurement) -> float:
    """Mean pairwise correlation of the channels, from their powers and the power of their average; 1 if identical."""
    count, mean = len(measured.powers), sum(measured.powers) / len(measured.powers)
    return (count * measured.mean_power / mean - 1) / (count - 1) if mean > 0 else 1.0


def has_different_channels(measured: AudioMeasurement) -> bool:
    """True if averaging the channels would lose signal."""
    is_multichannel = len(measured.powers) > 1
    return is_multichannel and (
        level_difference_db(measured) > MAX_LEVEL_DIFFERENCE_DB or correlation(measured) < MIN_CORRELATION
    )


def channel_note(files: Mapping[Path, AudioMeasurement], remedy: str) -> str | None:
    """Note about averaged files whose channels differ strongly; None where there are none.

    Args:
        remedy: last clause of the note.
    """
    several = [path for path, measured in files.items() if measured.num_channels > 1]
    different = [path for path in several if has_different_channels(files[path])]
    if not different:
        return None
    first = files[different[0]]
    return (
        f"{len(different)} of {len(several)} files of several channels have channels that differ strongly, such as "
        f"{different[0]} ({min(level_difference_db(first), 99):.0f} dB apart, correlation {correlation(first):.2f}); "
        f"they are averaged; {remedy}"
    )
