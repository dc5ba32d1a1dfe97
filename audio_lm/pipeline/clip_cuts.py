"""Cuts of audio files that are in no cut-set, for a question about them.

Audio is read as by the imports: any format that ``data.audio`` decodes, the average of all channels, resampled to 16 kHz.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from lhotse import MonoCut, Recording
from lhotse.cut import Cut

from audio_lm.common.audio_units import MAX_SAMPLES, MAX_SECONDS, SAMPLES_PER_SECOND
from audio_lm.common.errors import DataError
from audio_lm.corpora.channels import AVERAGE, check_choice, select_channels, selections
from audio_lm.corpora.labels import supervision_of
from audio_lm.data.audio import decode
from audio_lm.data.audio.errors import AudioError
from audio_lm.data.audio.recordings import recording_of
from audio_lm.data.manifest.cuts import check_length, num_samples_of, resample_to_16_khz

LongClip = Literal["error", "truncate"]
MAX_CLIPS = 9  # of a cut: ``audio_10`` would sort before ``audio_2``


def cut_of_files(
    paths: Sequence[Path],
    labels: Mapping[str, Any],
    *,
    long_audio: LongClip = "error",
    channel: str = AVERAGE,
) -> Cut:
    """One cut whose clips are these files, in order.

    Args:
        labels: of the clip, such as ``language``.
        long_audio: handling of clips over 30 s; ``truncate`` uses the first 30 s, of the first file only.
        channel: ``average``, ``left`` or ``right``, for files of several channels.

    Raises:
        DataError: a file is missing, no audio, too short or too long; names it.
    """
    if not 1 <= len(paths) <= MAX_CLIPS:
        raise DataError(f"{len(paths)} clips in one question -- expected 1 to {MAX_CLIPS}; leave some out")
    first, *others = map(_recording, paths)
    name = str(paths[0])
    cut: Any = MonoCut(
        id=name,
        start=0.0,
        duration=first.duration,
        channel=0,
        recording=first,
        supervisions=[supervision_of(name, first.duration, labels, None)],
        custom={f"audio_{number}": recording for number, recording in enumerate(others, start=2)} or None,
    )
    selected = selections(check_choice(channel), [first.num_channels, *(one.num_channels for one in others)])
    if len(selected) > 1:
        raise DataError(
            f"channel {channel!r} gives {len(selected)} clips -- expected one; choose left or right"
        )
    cut = resample_to_16_khz(select_channels(cut, selected[0]))
    if long_audio == "truncate" and num_samples_of(cut)[0] > MAX_SAMPLES:
        cut = cut.truncate(duration=MAX_SECONDS, preserve_id=True)
    for path, num_samples in zip(paths, num_samples_of(cut), strict=True):
        if num_samples > MAX_SAMPLES:
            raise DataError(
                f"{path}: {num_samples / SAMPLES_PER_SECOND:.1f} s is longer than the encoder's {MAX_SECONDS:.0f} s; cut it, "
                f"or, for a question about one clip, use its first {MAX_SECONDS:.0f} s with --long-audio truncate"
            )
    check_length(cut)
    return cut


def _recording(path: Path) -> Recording:
    try:
        return recording_of(path, decode.measure(str(path)))
    except (AudioError, OSError) as error:
        raise DataError(f"{error}; give a file with audio") from error
