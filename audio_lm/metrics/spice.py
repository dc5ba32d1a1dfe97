"""SPICE and SPIDEr of captions. SPICE is a Java program with parser models, which the user downloads; it is run as a child.

The environment variable ``AUDIO_LM_SPICE`` names the folder with the program; a recipe, which may come from elsewhere, cannot.
Results are kept per clip, in this process and in a file of that folder, so that every clip is parsed once.

Source: SPICE, arXiv:1607.08822; pycocoevalcap 1.2, spice/spice.py; SPIDEr, arXiv:1612.00370, section 3.
"""

import hashlib
import json
import math
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from audio_lm.common.errors import ProgramError
from audio_lm.metrics.clip_metric import ratio
from audio_lm.metrics.overlap import CiderD

VARIABLE = "AUDIO_LM_SPICE"
JAR, MODELS = "spice-1.0.jar", "lib/stanford-corenlp-*-models.jar"
KEPT = "clip_scores.jsonl"
MEMORY = "-Xmx8G"  # as pycocoevalcap
START_SECONDS, CAPTION_SECONDS = 120.0, 1.0
"""Time limit: loading of the parser models, and each caption, several times what they take on one core."""

Clip = Sequence[Sequence[str]]
"""Tokens of the answer, then those of each reference."""


class Spice(CiderD):
    """Mean over the clips of the F1 of semantic propositions; on the tokens of CIDEr-D."""

    @classmethod
    def why_missing(cls) -> str:
        return why_missing()

    def value(self, clips: Sequence[Clip]) -> float:
        each = self.each(clips)
        return ratio(math.fsum(each), len(each))

    def each(self, clips: Sequence[Clip]) -> list[float]:
        """F1 of each clip.

        Raises:
            ProgramError: the program fails, or does not end in time.
        """
        return f_scores(clips)


class Spider(Spice):
    """SPIDEr: mean of SPICE and CIDEr-D."""

    def each(self, clips: Sequence[Clip]) -> list[float]:
        ciders = CiderD.each(self, clips)
        return [(one + other) / 2 for one, other in zip(super().each(clips), ciders, strict=True)]


def why_missing() -> str:
    """Reason why SPICE cannot be run here; empty if it can."""
    remedy = "see docs/score.md"
    if not (place := os.environ.get(VARIABLE, "")):
        return f"{VARIABLE} is not set -- expected the folder of SPICE, a Java program that is not packaged -- {remedy}"
    for pattern in (JAR, MODELS):
        if not any(Path(place).glob(pattern)):
            return f"{VARIABLE}={place} has no {pattern} -- expected the folder of SPICE with its parser models -- {remedy}"
    if shutil.which("java") is None:
        return "there is no `java` on PATH, with which SPICE runs -- expected Java 8 or later -- install it"
    return ""


_f_of_clip: dict[str, float] = {}


def f_scores(clips: Sequence[Clip]) -> list[float]:
    """F1 of each clip; the program is run for those whose result is not kept.

    Raises:
        ProgramError: the program fails, or does not end in time.
    """
    if not clips:
        return []
    folder = Path(os.environ[VARIABLE]).absolute()
    keys = [hashlib.sha256(json.dumps(clip).encode()).hexdigest() for clip in clips]
    if any(key not in _f_of_clip for key in keys):
        _f_of_clip.update(_read_kept(folder / KEPT))
    missing = {key: clip for key, clip in zip(keys, clips, strict=True) if key not in _f_of_clip}
    if missing:
        found = dict(zip(missing, _run(folder, list(missing.values())), strict=True))
        _f_of_clip.update(found)
        _keep(folder / KEPT, found)
    return [_f_of_clip[key] for key in keys]


def _read_kept(path: Path) -> dict[str, float]:
    """Results of earlier processes; a damaged line is none."""
    found = {}
    with suppress(OSError):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError, KeyError, TypeError):
                row = json.loads(line)
                found[str(row["clip"])] = float(row["f"])
    return found


def _keep(path: Path, found: Mapping[str, float]) -> None:
    """Append results; the folder may be one that cannot be written."""
    lines = "".join(json.dumps({"clip": key, "f": value}) + "\n" for key, value in found.items())
    with suppress(OSError), path.open("a", encoding="utf-8") as file:
        file.write(lines)


def _run(folder: Path, clips: Sequence[Clip]) -> list[float]:
    """F1 of each clip by the program."""
    texts = [[" ".join(words) for words in clip] for clip in clips]
    rows = [{"image_id": number, "test": text[0], "refs": text[1:]} for number, text in enumerate(texts)]
    seconds = START_SECONDS + CAPTION_SECONDS * sum(map(len, clips))
    with tempfile.TemporaryDirectory(prefix="spice-") as name:
        given, out, errors = (Path(name) / file for file in ("in.json", "out.json", "errors.txt"))
        given.write_text(json.dumps(rows))
        command = ["java", MEMORY, "-jar", str(folder / JAR), str(given), "-out", str(out), "-silent"]
        code = _run_until(command, folder, errors, seconds)
        if code != 0 or not out.is_file():
            raise ProgramError(
                f"SPICE ended with code {code}: {_last_words(errors)} -- expected its result -- run it by hand: "
                f"{' '.join(command[:4])}"
            )
        text = out.read_text(encoding="utf-8", errors="replace")
    return _f_of_rows(text, len(clips))


def _run_until(command: Sequence[str], folder: Path, errors: Path, seconds: float) -> int:
    """Exit code of a child that is killed, with its own children, after some time or if this process is interrupted."""
    with errors.open("wb") as file:
        child = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=file,
            start_new_session=True,
        )
        try:
            return child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ProgramError(
                f"SPICE did not end in {seconds:.0f} s -- expected {CAPTION_SECONDS:g} s per caption at most -- score again on "
                f"a machine with less load; the answers are kept"
            ) from None
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()


def _last_words(errors: Path) -> str:
    lines = [line.strip() for line in errors.read_text(errors="replace").splitlines() if line.strip()]
    causes = [line for line in lines if not line.startswith("at ")]
    return causes[-1][:200] if causes else "no result and no message"


def _f_of_rows(text: str, count: int) -> list[float]:
    """F1 of each clip in the program's output.

    Raises:
        ProgramError: it is damaged, or not about these clips.
    """
    try:
        f_of_number = {int(row["image_id"]): _f_of(row["scores"]["All"]) for row in json.loads(text)}
    except (ValueError, KeyError, TypeError) as error:
        raise ProgramError(
            f"SPICE wrote {text[:60]!r} -- expected image_id and scores.All of each clip ({type(error).__name__}) -- use "
            f"SPICE 1.0"
        ) from error
    if f_of_number.keys() != set(range(count)):
        raise ProgramError(
            f"SPICE gave results of {len(f_of_number)} clips -- expected those of {count} -- score again"
        )
    return [f_of_number[number] for number in range(count)]


def _f_of(scores: Mapping[str, Any]) -> float:
    """F1; 0 where it is undefined because a caption has no proposition, so that the clip stays in the denominator."""
    value = scores["f"]
    if value is not None and not math.isnan(float(value)):
        return float(value)
    if int(scores["tp"]) > 0:
        raise ValueError("propositions match, but F1 is undefined")
    return 0.0
