"""Helpers that write small corpora in the layouts of publishers, and read the resulting manifests."""

import json
from pathlib import Path

import numpy as np
import soundfile


def sound(path: Path, seconds: float = 0.3, rate: int = 16_000) -> Path:
    """Write noise as an audio file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, int(seconds * rate)), rate)
    return path


def text(path: Path, content: str) -> Path:
    """Write a text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def cuts_of(corpus, source: Path, folder: Path) -> dict[str, list[dict]]:
    """Prepare a corpus from ``source``; returns the cuts of each manifest by its name."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = corpus.read_settings({"source": str(source)})
    corpus.write(folder, folder.parent / corpus.name, settings, lambda line: None)
    return {
        path.stem: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for path in sorted(folder.glob("*.jsonl"))
    }


def labels_of(cut: dict) -> dict:
    """Labels of a cut in a manifest, without ``honesty``."""
    supervision = cut["supervisions"][0]
    fields = {key: supervision[key] for key in ("language", "text", "speaker") if supervision.get(key)}
    return fields | {
        key: value for key, value in (supervision.get("custom") or {}).items() if key != "honesty"
    }
