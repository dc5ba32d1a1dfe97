"""NSynth: single notes of about 1 000 instruments, with pitch, velocity, family and qualities.

Layout: ``nsynth-<train|valid|test>/audio/<note>.wav`` next to ``examples.json``.

Source: Engel et al., arXiv:1704.01279, section 3; https://magenta.tensorflow.org/datasets/nsynth.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.base import CutSetWriter, Facts, PublishedCorpus, Subset, find_folders
from audio_lm.corpora.published.download import Archive

SPLITS = {
    "nsynth-train": ("notes-train", 289205),
    "nsynth-valid": ("notes-validation", 12678),
    "nsynth-test": ("notes-test", 4096),
}
SECONDS = 4
URL = "http://download.magenta.tensorflow.org/datasets/nsynth"
REQUIRED = ("instrument_family_str", "pitch", "velocity", "qualities_str")


def read(source: Path, writer: CutSetWriter) -> None:
    """Read all notes of the existing splits."""
    for root in find_folders(source, *SPLITS):
        for folder, (subset_split, _) in SPLITS.items():
            path = root / folder / "examples.json"
            for name, note in sorted(_read_notes(path).items()):
                audio = path.parent / "audio" / f"{name}.wav"
                writer.add(subset_split, name, audio, _labels(note, f"{path}: note {name!r}"))


def _labels(note: Mapping[str, Any], where: str) -> dict[str, Any]:
    if missing := [key for key in REQUIRED if key not in note]:
        raise DataError(f"{where} has no {', '.join(missing)}; download the split again")
    return {
        "instrument": note["instrument_family_str"].replace("_", " "),
        "pitch": int(note["pitch"]),
        "velocity": int(note["velocity"]),
        "qualities": list(note["qualities_str"]),
    }


def _read_notes(path: Path) -> dict[str, dict[str, Any]]:
    if not path.is_file():
        return {}
    try:
        notes: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is not JSON ({error}); download the split again") from error
    return notes


CORPUS = PublishedCorpus(
    name="nsynth",
    facts=Facts(
        what="NSynth: musical notes of four seconds with pitch, velocity, family and qualities",
        licence="CC BY 4.0",
        url="https://magenta.tensorflow.org/datasets/nsynth",
        tasks=("mna", "mic"),
        subsets={name: Subset(clips * SECONDS / 3600, clips) for name, clips in SPLITS.values()},
    ),
    read=read,
    archives=tuple(Archive(f"{URL}/{name}.jsonwav.tar.gz") for name in SPLITS),
)
