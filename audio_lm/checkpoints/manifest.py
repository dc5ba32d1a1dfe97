"""Manifest of a checkpoint: files of a sealed folder with their checksums, step and world size."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audio_lm.common import seals
from audio_lm.common.errors import CheckpointError
from audio_lm.common.seals import FILE, FileSeal

FORMAT = 1  # increased with every change of the layout
PROGRESS = "progress.json"


@dataclass(frozen=True)
class CheckpointManifest:
    """Description of a checkpoint in plain values."""

    step: int
    world_size: int
    """Number of ranks that wrote it."""

    facts: dict[str, Any]
    """Values of the caller: stage, digests, losses."""

    files: dict[str, FileSeal]
    format: int = FORMAT

    @property
    def num_bytes(self) -> int:
        """Size of all files."""
        return sum(seal.size for seal in self.files.values())


def write_manifest(folder: Path, manifest: CheckpointManifest) -> None:
    """Write and sync a manifest, with its own checksum, beside the files that it lists."""
    numbers = {"format": manifest.format, "step": manifest.step, "world_size": manifest.world_size}
    seals.write_seals(folder, manifest.files, **numbers, **manifest.facts)


def read_manifest(folder: Path) -> CheckpointManifest:
    """The manifest of a folder.

    Raises:
        CheckpointError: it is missing or damaged; the message says which.
    """
    facts = seals.read_facts(folder)
    _check_format(folder, facts.get("format"))
    files = seals.files_in(facts)
    del facts["files"]
    numbers = {key: facts.pop(key, None) for key in ("format", "step", "world_size")}
    if not all(type(number) is int for number in numbers.values()):
        raise CheckpointError(f"{FILE} belongs to no checkpoint")
    return CheckpointManifest(facts=facts, files=files, **numbers)


class OtherFormatError(CheckpointError):
    """A complete checkpoint of another format; it is refused, not skipped for an older one."""


def _check_format(folder: Path, number: Any) -> None:
    if number != FORMAT:
        raise OtherFormatError(
            f"{folder} is a checkpoint of format {number}, and this program reads format {FORMAT} -- continue with the "
            f"release that wrote it, or restart the stage with resume=never"
        )


def fault_of(
    folder: Path, manifest: CheckpointManifest, names: Mapping[str, FileSeal] | None = None
) -> str | None:
    """Fault in the files of a checkpoint; None if there is none.

    Args:
        names: files whose checksum is checked in addition to their size; None checks sizes only.
    """
    return seals.fault_of(folder, manifest.files, names)
