"""Small audio files, and fixtures that import a file of another toolkit and render its examples."""

import json

import numpy as np
import pytest
import soundfile

from audio_lm.corpora.imports.common import ImportOptions
from audio_lm.corpora.imports.importing import import_file
from audio_lm.data.examples import ExampleMaker
from audio_lm.data.manifest.cuts import num_samples_of, read_cuts


@pytest.fixture
def folder(tmp_path):
    """Folder of the files to import, with clips of 0.4, 0.6 and 0.8 s at 16, 8 and 44.1 kHz."""
    place = tmp_path / "foreign"
    (place / "wavs").mkdir(parents=True)
    for name, seconds, rate in (("a", 0.4, 16_000), ("b", 0.6, 8_000), ("c", 0.8, 44_100)):
        tone = 0.3 * np.sin(2 * np.pi * 300 * np.arange(round(seconds * rate)) / rate)
        soundfile.write(place / "wavs" / f"{name}.wav", tone, rate)
    return place


@pytest.fixture
def write_rows(folder):
    """Function that writes rows as JSON lines and returns the path."""

    def write(rows, name="rows.jsonl"):
        path = folder / name
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


@pytest.fixture
def import_cuts(tmp_path):
    """Function that imports a file and reads its cuts as a recipe does; ``lines`` has the reported messages."""

    def run(format_name, path, subset_split="all-train", **options):
        run.lines = []
        import_file(
            format_name,
            path,
            tmp_path / "data",
            "mine",
            subset_split,
            ImportOptions(**options),
            run.lines.append,
            overwrite=True,
        )
        return read_cuts(tmp_path / "data", f"mine/{subset_split}")

    return run


@pytest.fixture
def render_example(vocabulary):
    """Function that renders a cut under a task: the text, each clip as one audio token, and the samples per clip."""

    def render(cut, task="chat", prompt="chatml"):
        example = ExampleMaker(vocabulary, prompt).example(cut, task)
        assert example.num_samples == tuple(num_samples_of(cut))
        text = vocabulary.text(example.token_ids)
        while "<|AUDIO|><|AUDIO|>" in text:
            text = text.replace("<|AUDIO|><|AUDIO|>", "<|AUDIO|>")
        return text, example.num_samples

    return render
