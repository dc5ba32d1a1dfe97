import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.common.errors import RecipeError
from audio_lm.prompts.tokenizer import load_or_train_tokenizer, load_tokenizer, train_tokenizer
from audio_lm.prompts.vocabulary import TEXT_TOKENS
from tests.prompts.fixtures import TEXTS, small_vocabulary


def test_training_is_deterministic():
    vocabularies = [train_tokenizer(iter(TEXTS), vocab_size=300).get_vocab() for _ in range(2)]
    assert vocabularies[0] == vocabularies[1]


def test_a_word_includes_the_space_before_it():
    tokenizer = small_vocabulary().tokenizer
    assert tokenizer.tokenize("she sells shells") == ["she", "Ġsells", "Ġshells"]


def test_special_tokens_follow_the_trained_tokens():
    tokenizer = train_tokenizer(TEXTS, vocab_size=280)
    assert [tokenizer.convert_tokens_to_ids(token) for token in TEXT_TOKENS] == list(range(280, 286))
    assert tokenizer.eos_token_id == tokenizer.pad_token_id == 280


@given(st.text())
def test_decoding_inverts_encoding_for_any_text(text):
    tokenizer = small_vocabulary().tokenizer
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text


def test_a_saved_tokenizer_loads_unchanged(tmp_path):
    tokenizer = small_vocabulary().tokenizer
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(str(tmp_path))
    text = "she sells <|im_start|>7 sea\n\nshells<|endoftext|> , don't 1.50"
    assert loaded(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert loaded.decode(loaded(text)["input_ids"]) == text
    assert (loaded.eos_token_id, loaded.pad_token_id) == (tokenizer.eos_token_id, tokenizer.pad_token_id)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"correct model\.tokenizer\.load"):
        load_tokenizer(str(tmp_path))


def test_a_vocabulary_below_256_tokens_is_refused():
    with pytest.raises(RecipeError, match="at least 256"):
        train_tokenizer(TEXTS, vocab_size=255)


def test_two_processes_agree_on_one_cached_tokenizer(tmp_path):
    folder, calls = tmp_path / "cache" / "one", []

    def train():
        calls.append(1)
        return train_tokenizer(["one two three"], vocab_size=260)

    def train_second():
        load_or_train_tokenizer(folder, train)  # another process finishes first
        return train()

    ids = load_or_train_tokenizer(folder, train_second)("one two").input_ids
    assert len(calls) == 2
    assert load_or_train_tokenizer(folder, train)("one two").input_ids == ids
    assert len(calls) == 2
    assert [path.name for path in folder.parent.iterdir()] == ["one"]


def test_a_folder_that_cannot_be_written_raises_and_leaves_no_file(tmp_path):
    (tmp_path / "one").write_text("a file")
    with pytest.raises(OSError, match="one"):
        load_or_train_tokenizer(tmp_path / "one", lambda: train_tokenizer(["one"], vocab_size=256))
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
