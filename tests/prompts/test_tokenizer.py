import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.common.errors import RecipeError
from audio_lm.prompts.tokenizer import load_or_train_tokenizer, load_tokenizer, train_tokenizer
from audio_lm.prompts.vocabulary import TEXT_TOKENS
from tests.prompts.fixtures import TEXTS, small_vocabulary


def test_the_same_texts_make_the_same_tokenizer():
    vocabularies = [train_tokenizer(iter(TEXTS), vocab_size=300).get_vocab() for _ in range(2)]
    assert vocabularies[0] == vocabularies[1]


def test_a_word_keeps_the_blank_before_it():
    tokenizer = small_vocabulary().tokenizer
    assert tokenizer.tokenize("she sells shells") == ["she", "Ġsells", "Ġshells"]


def test_the_tokens_of_chat_stand_after_the_bytes_and_words():
    tokenizer = train_tokenizer(TEXTS, vocab_size=280)
    assert [tokenizer.convert_tokens_to_ids(token) for token in TEXT_TOKENS] == list(range(280, 286))
    assert tokenizer.eos_token_id == tokenizer.pad_token_id == 280


@given(st.text())
def test_every_text_can_be_written_and_comes_back(text):
    tokenizer = small_vocabulary().tokenizer
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text


def test_a_saved_tokenizer_is_the_same_when_loaded(tmp_path):
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


def test_there_must_be_room_for_the_bytes():
    with pytest.raises(RecipeError, match="at least 256"):
        train_tokenizer(TEXTS, vocab_size=255)


def test_a_kept_tokenizer_is_trained_once_even_by_two_at_once(tmp_path):
    folder, trained = tmp_path / "kept" / "one", []

    def train():
        trained.append(1)
        return train_tokenizer(["one two three"], vocab_size=260)

    def overtaken():
        load_or_train_tokenizer(folder, train)  # another process, meanwhile
        return train()

    ids = load_or_train_tokenizer(folder, overtaken)("one two").input_ids
    assert len(trained) == 2
    assert load_or_train_tokenizer(folder, train)("one two").input_ids == ids
    assert len(trained) == 2
    assert [path.name for path in folder.parent.iterdir()] == ["one"]


def test_a_folder_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path):
    (tmp_path / "one").write_text("a file")
    with pytest.raises(OSError, match="one"):
        load_or_train_tokenizer(tmp_path / "one", lambda: train_tokenizer(["one"], vocab_size=256))
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
