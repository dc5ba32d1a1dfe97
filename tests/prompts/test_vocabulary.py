import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.common.errors import CheckpointError, RecipeError
from audio_lm.prompts.vocabulary import (
    AUDIO_TOKENS,
    EXTENSION_TOKENS,
    MARKUP_TOKENS,
    TEXT_TOKENS,
    Vocabulary,
    tokens_for,
)
from tests.prompts.fixtures import SPARE_ROWS, small_vocabulary

TRICKY = st.lists(st.sampled_from([*AUDIO_TOKENS[:20], *TEXT_TOKENS, "<|", "|>", " ", "a", "<", "ü"])).map(
    "".join
)


def test_tokens_have_the_order_of_the_released_tokenizer():
    # Ids of the released files, less 151852: <|0.00|> is 151871, <|30.00|> 154871, <audio> 155163.
    offsets = {
        "<|startoftranscript|>": 0,
        "<|0.00|>": 19,
        "<|30.00|>": 3019,
        "<audio>": 3311,
        "</audio>": 3312,
    }
    assert {token: AUDIO_TOKENS.index(token) for token in offsets} == offsets
    assert len(set(MARKUP_TOKENS)) == len(AUDIO_TOKENS) + len(TEXT_TOKENS) + len(EXTENSION_TOKENS)


def test_new_tokens_follow_the_embedding_table_in_order():
    vocabulary = small_vocabulary()
    assert vocabulary.new_tokens == AUDIO_TOKENS + EXTENSION_TOKENS
    ids = [vocabulary.id_of[token] for token in vocabulary.new_tokens]
    assert ids == list(range(vocabulary.num_base, len(vocabulary)))
    assert vocabulary.num_base == len(vocabulary.tokenizer) + SPARE_ROWS
    assert vocabulary.audio_id < len(vocabulary.tokenizer)


def test_every_special_token_is_one_id():
    vocabulary = small_vocabulary()
    for token in MARKUP_TOKENS:
        assert vocabulary.ids(token, is_markup=True) == [vocabulary.id_of[token]], token
        assert vocabulary.text([vocabulary.id_of[token]]) == token


@given(st.text() | TRICKY)
def test_text_has_no_special_tokens_and_decodes_unchanged(text):
    vocabulary = small_vocabulary()
    ids = vocabulary.ids(text, is_markup=False)
    assert set(ids).isdisjoint(vocabulary.id_of.values())
    assert vocabulary.text(ids) == text


@given(st.lists(st.sampled_from([*MARKUP_TOKENS]) | st.text("ab c\nü", min_size=1)))
def test_markup_with_text_between_decodes_unchanged(parts):
    vocabulary = small_vocabulary()
    ids = vocabulary.ids("".join(parts), is_markup=True)
    assert vocabulary.text(ids) == "".join(parts)
    assert sum(index in vocabulary.id_of.values() for index in ids) == sum(
        part in MARKUP_TOKENS for part in parts
    )


@given(st.lists(st.integers(0, len(small_vocabulary()) - 1)))
def test_any_ids_can_be_decoded(ids):
    assert isinstance(small_vocabulary().text(ids), str)


def test_a_tag_that_the_vocabulary_lacks_is_refused():
    with pytest.raises(RecipeError, match=r"\['<\|startoftranscripts\|>'\] would be split into sub-words"):
        small_vocabulary().check("<|startoftranscript|>", "<|startoftranscripts|>")
    with pytest.raises(RecipeError, match=r"30\.01"):
        small_vocabulary().ids("<|30.01|>", is_markup=True)


def test_a_tokenizer_larger_than_the_embedding_table_is_refused():
    tokenizer = small_vocabulary().tokenizer
    with pytest.raises(CheckpointError, match="load both from the same folder"):
        Vocabulary(tokenizer, num_base=len(tokenizer) - 1)


def test_only_tags_need_more_than_the_tokens_of_chat():
    tokenizer = small_vocabulary().tokenizer
    for prompts in (["natural"], ["chatml", "natural"]):
        vocabulary = Vocabulary(tokenizer, num_base=500, tokens=tokens_for(prompts))
        assert vocabulary.new_tokens == ()
        assert set(vocabulary.id_of) == set(TEXT_TOKENS)
    with_tags = Vocabulary(tokenizer, num_base=500, tokens=tokens_for(["natural", "tags"]))
    assert with_tags.digest == Vocabulary(tokenizer, num_base=500).digest != vocabulary.digest


def test_new_tokens_keep_their_given_order():
    tokens = ["<|zz|>", "<|en|>", "<audio>"]
    vocabulary = Vocabulary(small_vocabulary().tokenizer, num_base=500, tokens=tokens)
    assert [vocabulary.id_of[token] for token in tokens] == [500, 501, 502]
    assert vocabulary.text([502, 500]) == "<audio><|zz|>"
