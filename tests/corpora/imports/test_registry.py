import pytest

from audio_lm.common.errors import UserError
from audio_lm.corpora.imports.registry import FORMATS, find_format


def test_every_format_has_a_description_and_an_example_of_one_line():
    for name, known in FORMATS.items():
        assert find_format(name) is known
        assert known.name == name
        for line in (known.what, known.example):
            assert line, name
            assert "\n" not in line, name


def test_examples_can_be_imported(folder, import_cuts):
    for name in ("dialogues", "ms-swift", "trl", "nemo", "nemo-share-gpt", "qwen-eval", "salmonn"):
        path = folder / "wavs" / f"{name}.jsonl"
        text = FORMATS[name].example.replace('"duration": 1.5', '"duration": 0.4')
        path.write_text(text)
        assert len(import_cuts(name, path, f"{name}-train")) == 1, name


def test_the_error_for_an_unknown_format_suggests_the_nearest():
    with pytest.raises(UserError, match="Did you mean 'kaldi'"):
        find_format("kaldy")
