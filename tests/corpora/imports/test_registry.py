import pytest

from audio_lm.common.errors import UserError
from audio_lm.corpora.imports.registry import FORMATS, find_format


def test_every_format_says_what_it_is_in_a_line():
    for name, one in FORMATS.items():
        assert find_format(name) is one
        assert one.name == name
        for line in (one.what, one.example):
            assert line, name
            assert "\n" not in line, name


def test_examples_can_be_imported(folder, imported):
    for name in ("ms-swift", "nemo", "nemo-share-gpt", "qwen-eval", "salmonn"):
        path = folder / "wavs" / f"{name}.jsonl"
        text = FORMATS[name].example.replace('"duration": 1.5', '"duration": 0.4')
        path.write_text(text)
        assert len(imported(name, path, f"{name}-train")) == 1, name


def test_a_misspelt_format_is_told_its_neighbour():
    with pytest.raises(UserError, match="Did you mean 'kaldi'"):
        find_format("kaldy")
