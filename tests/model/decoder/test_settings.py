import pytest
from transformers import Qwen2Config

from audio_lm.common.errors import CheckpointError, RecipeError
from audio_lm.model.decoder.settings import new_settings, num_rows, published_settings


def test_settings_of_a_folder_are_read_without_weights(tmp_path):
    Qwen2Config(hidden_size=32, vocab_size=77).save_pretrained(tmp_path)
    assert num_rows(str(tmp_path)) == 77
    assert published_settings(str(tmp_path)).hidden_size == 32
    with pytest.raises(CheckpointError, match="no/such"):
        num_rows("no/such/folder")


def test_the_vocabulary_size_is_that_of_the_tokenizer():
    assert new_settings("qwen2", {"hidden_size": 32}, num_base=50).vocab_size == 50
    with pytest.raises(RecipeError, match=r"vocab_size is 51, the tokenizer has 50 tokens"):
        new_settings("qwen2", {"vocab_size": 51}, num_base=50)
