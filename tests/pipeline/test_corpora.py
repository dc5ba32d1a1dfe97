from dataclasses import replace

import pytest

from audio_lm.common.errors import UserError
from audio_lm.config.load import load_recipe
from audio_lm.corpora.corpus import prepare
from audio_lm.pipeline.corpora import prepare_corpora, reading_corpora

SPEECH = {"clips": {"digits": 2}, "validation_clips": 1, "test_clips": 1, "word_copies": 1}


def test_a_recipe_keeps_its_corpora_while_it_reads_them(tmp_path):
    recipe = replace(load_recipe("demo").recipe, data_dir=str(tmp_path), corpora={"synthetic": SPEECH})
    prepare_corpora(recipe, lambda line: None)
    other = {**SPEECH, "seed": 1}
    with reading_corpora(recipe), pytest.raises(UserError, match="a run is reading"):
        prepare("synthetic", tmp_path, other, lambda line: None)
    assert prepare("synthetic", tmp_path, other, lambda line: None) == tmp_path / "synthetic"
