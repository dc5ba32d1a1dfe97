"""Stamp of answers: the model, the data, the settings of decoding and the code that gave them.

Answers of another stamp are never mixed with new ones, and a report does not take them for those of the model it names.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
DECIDING = (
    "common",
    "data",
    "evaluation/controls.py",
    "model",
    "pipeline/closed_answers.py",
    "prompts",
    "tasks",
)
"""Code that answers depend on; scores are computed again from kept answers by any release."""

MEANINGS = {
    "model": "another model",
    "data": "other clips, questions or references",
    "decoding": "other settings of the benchmark",
    "code": "another version of the code",
}


@dataclass(frozen=True)
class Stamp:
    """Digests of everything that decides the answers to a benchmark."""

    model: str
    data: str
    decoding: str
    code: str

    @property
    def digest(self) -> str:
        """8 hexadecimal digits of all of them, as on every line of a file of answers."""
        return digest_of(asdict(self))[:8]

    def differences(self, other: Mapping[str, object]) -> list[str]:
        """Differences from another stamp, in words.

        Args:
            other: read from a file.
        """
        own = asdict(self)
        return [meaning for name, meaning in MEANINGS.items() if other.get(name) != own[name]]


def digest_of(content: object) -> str:
    """16 hexadecimal digits of a value that JSON can represent."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


@cache
def code_digest() -> str:
    """Digest of the source files that answers depend on."""
    digest = hashlib.sha256()
    for name in DECIDING:
        place = PACKAGE / name
        for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
            digest.update(f"{path.relative_to(PACKAGE)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]
