"""Synthetic corpus: speech, sounds, music, conversations and text rows from one seed.

This module defines the order: dialogues use clips that are already written, and text rows correspond to training clips.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from audio_lm.common.errors import RecipeError, unknown
from audio_lm.common.progress import progress
from audio_lm.common.protocols import Report
from audio_lm.common.source_name import SPLITS
from audio_lm.corpora.settings import parse_settings
from audio_lm.corpora.synthetic import speech
from audio_lm.corpora.synthetic.dialogues import DIALOGUE_SUBSETS, write_dialogues
from audio_lm.corpora.synthetic.music import MUSIC_SUBSETS, write_music
from audio_lm.corpora.synthetic.preferences import write_preferences
from audio_lm.corpora.synthetic.settings import SyntheticSettings
from audio_lm.corpora.synthetic.several import write_several
from audio_lm.corpora.synthetic.sounds import SOUND_SUBSETS, write_sounds
from audio_lm.corpora.synthetic.speech_synthesis import has_synthesizer
from audio_lm.corpora.synthetic.spoken import write_spoken
from audio_lm.corpora.synthetic.words import write_words
from audio_lm.corpora.synthetic.writing import CutWriter

VERSION = 2  # increased whenever the same settings give other clips
MIN_TOTAL = 1000  # clips that take more than a moment

CLIPS: Mapping[str, int] = {
    **speech.CLIPS,
    "events": 1000,
    "detection": 600,
    "scenes": 400,
    "sound_questions": 600,
    "notes": 3000,
    "melodies": 800,
    "dialogues": 6000,
    "dialogues_text": 1000,
    "several": 2000,
    "spoken": 2000,
    "preferences": 2000,
}
"""Subset -> number of training clips, if a recipe sets none."""

CONVERSATION_SUBSETS = ("several", "spoken", "preferences")

WORD_SUBSETS = (
    *("digits", "phrases", "commands", "intents", "mandarin", "dialects", "ages", "spoken_questions"),
    *("events", "scenes", "notes", "melodies"),
)
"""Subsets whose labels can be expressed as text in audio places."""


def read_settings(given: Mapping[str, Any]) -> SyntheticSettings:
    """Parse the settings of a recipe; without ``clips``, all subsets have default sizes.

    Raises:
        RecipeError: an unknown key or subset, or an invalid value.
    """
    settings = parse_settings(SyntheticSettings, "synthetic", given)
    for subset in settings.clips:
        if subset not in CLIPS:
            raise RecipeError(
                unknown("subset of corpus 'synthetic':", subset, CLIPS, see="audio_lm/corpora/synthetic/")
            )
    return replace(settings, clips=dict(settings.clips or CLIPS))


def conditions() -> dict[str, Any]:
    """Conditions outside the settings: there is speech only with the synthesizer."""
    return {"speech": has_synthesizer()}


def write(folder: Path, final_folder: Path, settings: SyntheticSettings, report: Report) -> None:
    """Write all subsets and their manifests."""
    writer = CutWriter(folder, final_folder)
    with progress(
        "corpus synthetic", total=_num_clips(settings), what="clips", min_total=MIN_TOTAL
    ) as advance:
        writer.advance = advance
        _write_all(writer, settings, report)


def _num_clips(settings: SyntheticSettings) -> int:
    """Number of clips and conversations, without text rows."""
    subsets = [subset for subset in CLIPS if has_synthesizer() or not speech.is_spoken(subset)]
    return sum(settings.num_clips(subset, split) for subset in subsets for split in SPLITS)


def _write_all(writer: CutWriter, settings: SyntheticSettings, report: Report) -> None:
    clips = {**settings.clips, "validation": settings.validation_clips, "test": settings.test_clips}
    speech.write(writer, settings, report)
    write_sounds(writer, clips=clips, seed=settings.seed)
    _report_counts("sound", SOUND_SUBSETS, writer, report)
    write_music(writer, clips=clips, seed=settings.seed)
    _report_counts("music", MUSIC_SUBSETS, writer, report)
    write_dialogues(writer, clips=clips, seed=settings.seed)
    write_several(writer, clips=clips, seed=settings.seed)
    if has_synthesizer():
        write_spoken(writer, clips=clips, seed=settings.seed)
    write_preferences(writer, clips=clips, seed=settings.seed)
    _report_counts("dialogues", (*DIALOGUE_SUBSETS, *CONVERSATION_SUBSETS), writer, report)
    write_words(writer, subsets=WORD_SUBSETS, copies=settings.word_copies, seed=settings.seed)
    _report_counts("text in audio places", [f"words_{subset}" for subset in WORD_SUBSETS], writer, report)
    writer.close()


def _report_counts(
    kind: str, subsets: tuple[str, ...] | list[str], writer: CutWriter, report: Report
) -> None:
    for subset in subsets:
        written = [len(writer.cuts(f"{subset}-{split}")) for split in SPLITS]
        if any(written):
            report(f"{kind}: {subset}, {' + '.join(str(count) for count in written if count)} clips")
