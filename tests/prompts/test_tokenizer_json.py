from hypothesis import given
from hypothesis import strategies as st

from audio_lm.prompts.tokenizer_json import JsonTokenizer
from audio_lm.prompts.vocabulary import TEXT_TOKENS, Vocabulary
from tests.prompts.fixtures import TEXTS, small_vocabulary

TEXT = "she sells <|im_start|>7 sea\n\nshells<|endoftext|> , don't 1.50"


def saved(folder):
    small_vocabulary().tokenizer.save_pretrained(folder)
    return JsonTokenizer(folder)


def test_a_file_gives_the_same_tokenizer_as_transformers(tmp_path):
    tokenizer, expected = saved(tmp_path), small_vocabulary().tokenizer
    assert tokenizer.backend_tokenizer.to_str() == expected.backend_tokenizer.to_str()
    assert len(tokenizer) == len(expected)
    for name in ("pad_token_id", "added_tokens_encoder"):
        assert getattr(tokenizer, name) == getattr(expected, name), name
    assert tokenizer.get_vocab() == expected.get_vocab()


def test_a_vocabulary_of_a_file_has_the_same_ids_and_digest(tmp_path):
    ours, expected = Vocabulary(saved(tmp_path), num_base=500), small_vocabulary()
    expected = Vocabulary(expected.tokenizer, num_base=500)
    assert ours.digest == expected.digest
    assert ours.id_of == expected.id_of
    assert ours.pad_id == expected.pad_id
    for text in (TEXT, *TEXTS, *TEXT_TOKENS):
        ids = ours.ids(text, is_markup=False)
        assert ids == expected.ids(text, is_markup=False)
        assert ours.text(ids) == text


@given(st.lists(st.text(), max_size=3))
def test_many_texts_have_the_ids_of_each(tmp_path_factory, texts):
    folder = tmp_path_factory.getbasetemp() / "tokenizer_json"
    tokenizer = JsonTokenizer(folder) if folder.is_dir() else saved(folder)
    expected = [small_vocabulary().tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    assert tokenizer(texts, add_special_tokens=False)["input_ids"] == expected
    assert [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts] == expected
