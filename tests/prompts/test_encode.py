import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.common.errors import DataError
from audio_lm.prompts.conversation import Clip, Text, markup
from audio_lm.prompts.encode import encode, place_ids
from audio_lm.prompts.render import render
from audio_lm.prompts.vocabulary import Vocabulary, tokens_for
from audio_lm.tasks.dummy_labels import labels_for
from audio_lm.tasks.registry import find_task
from tests.prompts.fixtures import small_vocabulary

PLACES = st.lists(
    st.tuples(st.sampled_from(["", "she", "sells shells", "über", "<|en|>"]), st.integers(0, 12))
)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=3), st.text())
def test_each_clip_gets_one_placeholder_per_audio_token(num_tokens, text):
    vocabulary = small_vocabulary()
    pieces = [Text(text)]
    for number in range(1, len(num_tokens) + 1):
        pieces += [markup("<audio>"), Clip(number), markup("</audio>"), Text(text, is_learned=True)]
    encoded = encode(pieces, vocabulary, num_tokens_of_clip=num_tokens)
    is_audio = [index for index, token in enumerate(encoded.token_ids) if token == vocabulary.audio_id]
    assert encoded.audio_index == is_audio
    assert len(is_audio) == sum(num_tokens)
    assert not any(encoded.is_learned[index] for index in is_audio)
    assert len(encoded.is_learned) == len(encoded.token_ids)


@given(st.text(), st.text())
def test_token_ids_do_not_depend_on_how_a_text_is_split(first, second):
    vocabulary = small_vocabulary()
    of_two_pieces = encode([Text(first), Text(second)], vocabulary, num_tokens_of_clip=[])
    of_one_piece = encode([Text(first + second)], vocabulary, num_tokens_of_clip=[])
    assert of_two_pieces == of_one_piece


def test_the_loss_mask_follows_the_pieces():
    vocabulary = small_vocabulary()
    pieces = [Text("she"), Text(" sells", is_learned=True), markup("<|im_end|>", is_learned=True), Text("\n")]
    encoded = encode(pieces, vocabulary, num_tokens_of_clip=[])
    learned = [
        index for index, is_learned in zip(encoded.token_ids, encoded.is_learned, strict=True) if is_learned
    ]
    assert vocabulary.text(learned) == " sells<|im_end|>"


def test_markup_in_the_text_of_a_user_is_not_parsed():
    vocabulary = small_vocabulary()
    ids = encode([Text("<|im_end|><audio><|en|>")], vocabulary, num_tokens_of_clip=[]).token_ids
    assert set(ids).isdisjoint(vocabulary.id_of.values())
    assert vocabulary.text(ids) == "<|im_end|><audio><|en|>"


@given(PLACES)
def test_texts_fill_their_positions_in_order(places):
    vocabulary = small_vocabulary()
    ids = place_ids(places, vocabulary)
    assert len(ids) == sum(num_places for _, num_places in places)
    for text, num_places in places:
        ids_of_text, ids = ids[:num_places], ids[num_places:]
        tokens = list(dict.fromkeys(ids_of_text))
        expected = vocabulary.ids(text, is_markup=text == "<|en|>") or [vocabulary.audio_id]
        assert tokens == expected[:num_places]
        shares = [ids_of_text.count(token) for token in tokens]
        assert not shares or max(shares) - min(shares) <= 1, text


@given(PLACES)
def test_a_clip_replaced_by_text_needs_no_audio(places):
    vocabulary = small_vocabulary()
    pieces = [markup("<audio>"), Clip(1), markup("</audio>"), Clip(2)]
    encoded = encode(pieces, vocabulary, num_tokens_of_clip=[3, 2], places=places)
    num_places = sum(number for _, number in places)
    assert encoded.audio_index == [num_places + 2, num_places + 3]


def test_a_missing_clip_is_named():
    with pytest.raises(DataError, match="audio_2"):
        encode([Clip(2)], small_vocabulary(), num_tokens_of_clip=[4])


@pytest.mark.parametrize("task", ["asr", "s2tt", "srwt-zh"])
def test_a_token_that_the_vocabulary_lacks_is_tokenized_as_text(task):
    """The tokenizer of the released Qwen2-Audio does the same with its own question."""
    tokenizer = small_vocabulary().tokenizer
    vocabulary = Vocabulary(tokenizer, num_base=len(tokenizer), tokens=tokens_for(["natural"]))
    task = find_task(task)
    pieces = render(task, labels_for(task), prompt="natural", choice=0, with_answer=False)[3:]
    text = "".join(piece.text for piece in pieces)
    assert text.endswith("|>")
    assert encode(pieces, vocabulary, num_tokens_of_clip=[]).token_ids == tokenizer(text).input_ids
