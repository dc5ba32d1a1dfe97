"""What makes a folder a checkpoint: the manifest of a sealed folder that also names a step and who wrote it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audio_lm.common import seals
from audio_lm.common.errors import CheckpointError
from audio_lm.common.seals import FILE, FileSeal

FORMAT = 1  # raised whenever a checkpoint is written in another way
PROGRESS = "progress.json"


@dataclass(frozen=True)
class CheckpointManifest:
    """What a checkpoint is, in plain values."""

    step: int
    world_size: int
    """Ranks that wrote it."""

    facts: dict[str, Any]
    """Of whoever saved: stage, digests, losses."""

    files: dict[str, FileSeal]
    format: int = FORMAT

    @property
    def num_bytes(self) -> int:
        """Of all files."""
        return sum(seal.size for seal in self.files.values())


def write_manifest(folder: Path, manifest: CheckpointManifest) -> None:
    """Put a manifest, sealed and synced, beside the files it speaks of."""
    known = {"format": manifest.format, "step": manifest.step, "world_size": manifest.world_size}
    seals.write_seals(folder, manifest.files, **known, **manifest.facts)


def read_manifest(folder: Path) -> CheckpointManifest:
    """The manifest of a folder.

    Raises:
        CheckpointError: there is none, or it is not what was written; says which.
    """
    facts = seals.read_facts(folder)
    _check_format(folder, facts.get("format"))
    files = seals.files_in(facts)
    del facts["files"]
    numbers = {key: facts.pop(key, None) for key in ("format", "step", "world_size")}
    if not all(type(number) is int for number in numbers.values()):
        raise CheckpointError(f"{FILE} is not that of a checkpoint")
    return CheckpointManifest(facts=facts, files=files, **numbers)


class OtherFormatError(CheckpointError):
    """A whole checkpoint of another format: refused, and never passed over for an older one."""


def _check_format(folder: Path, number: Any) -> None:
    if number != FORMAT:
        raise OtherFormatError(
            f"{folder} is a checkpoint of format {number}, and this program reads format {FORMAT} -- go on with the release "
            f"that wrote it, or begin the stage anew without resume"
        )


def fault_of(
    folder: Path, manifest: CheckpointManifest, names: Mapping[str, FileSeal] | None = None
) -> str | None:
    """What is wrong with the files of a checkpoint; None when nothing is.

    Args:
        names: files whose checksum is looked at as well as their size; none for sizes only.
    """
    return seals.fault_of(folder, manifest.files, names)
