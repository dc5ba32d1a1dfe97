"""Parts of ``audio-lm bench gpu``, most valuable first, and what a part gets and gives.

Each part runs in a process of its own, so that one that fails or hangs costs only its own time. It hands over its
figures one by one, so that an end of its time loses none.
"""

import importlib.util
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audio_lm.common.audio_units import Seconds
from audio_lm.common.files import write_text

READS_AUDIO = ("lhotse", "soundfile", "langcodes", "omegaconf")
TRAINS = (*READS_AUDIO, "rapidfuzz", "espeakng_loader")


FOR_A_START: Seconds = 30.0
"""Time in which a process imports torch and transformers, and does something."""


@dataclass(frozen=True)
class Part:
    """A part, its share of the time, and the packages that it needs beside torch and transformers."""

    name: str
    title: str
    weight: float
    """Of the time that is left, among this part and those after it."""

    needs: tuple[str, ...] = ()
    """Modules."""

    is_for_cpu: bool = False
    """True if a machine without a GPU can run a half of it."""

    def missing(self) -> list[str]:
        """Needed modules that are not installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


PARTS = (
    Part("machine", "Machine", 0.3),
    # The fixtures of the tests read audio and recipes.
    Part("tests", "Tests of the GPU path", 2.2, (*READS_AUDIO, "pytest", "hypothesis"), is_for_cpu=True),
    Part("encoder", "Step: encoder and projector trained, language model of 7 B frozen", 2.1),
    Part("lora", "Step: low-rank updates and projector trained, language model of 7 B", 1.6),
    Part("llm", "Step: language model of 1.5 B trained", 1.5),
    Part("loader", "Loader to GPU", 0.6, READS_AUDIO),
    Part("demo", "A run of the demo recipe", 1.9, TRAINS),
)
STEP_PARTS = ("encoder", "lora", "llm")


@dataclass
class Task:
    """Work of a part: its limits, and the file of its figures.

    Args:
        seconds: until its process is ended.
        is_rehearsal: a tiny model on the CPU stands in for the GPU.
    """

    file: Path
    seconds: Seconds
    is_rehearsal: bool = False
    has_gpu: bool = False
    figures: dict[str, Any] = field(default_factory=dict)
    began: Seconds = field(default_factory=time.monotonic)

    @property
    def device(self) -> str:
        """Device of the measurement."""
        return "cuda" if self.has_gpu and not self.is_rehearsal else "cpu"

    @property
    def left(self) -> Seconds:
        """Seconds until the process is ended."""
        return self.seconds - (time.monotonic() - self.began)

    def put(self, **figures: Any) -> None:
        """Hand figures over."""
        self.figures |= figures
        write_text(self.file, json.dumps(self.figures), is_synced=False)


def share_of(part: Part, parts: Sequence[Part], seconds: Seconds) -> Seconds:
    """Time limit of a part: its share of what is left, so that what an earlier part saves is given to later ones.

    It is long enough for the start of a process, if so much is left.
    """
    rest = parts[parts.index(part) :]
    share = seconds * part.weight / sum(other.weight for other in rest)
    return min(seconds, max(share, FOR_A_START))
