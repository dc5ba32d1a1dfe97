from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from audio_lm.prompts import token_counts
from audio_lm.prompts.token_counts import ASCII_WORD, TokenCounter
from audio_lm.prompts.tokenizer_json import WORD_PATTERN
from tests.prompts.fixtures import small_vocabulary

ASCII = st.text(st.characters(max_codepoint=127), max_size=30)
WORDS = st.lists(st.sampled_from(["she", " sells", "'S", "'ll", " ", "\n", "7", "\x1c", "_", "!", "\t"])).map(
    "".join
)


def num_tokens(tokenizer, text):
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])


@given(st.lists(ASCII | WORDS | st.text()))
@example(["<|audio_eos|>", "say <|im_end|> twice"])
def test_counts_equal_those_of_the_tokenizer(texts):
    vocabulary = small_vocabulary()
    counter = TokenCounter(vocabulary.tokenizer)
    assert counter.has_words
    # Texts are split before they are counted: a special token inside a text would be one token of the tokenizer.
    parts = [part for text in texts for part in vocabulary.split(text, is_markup=False)]
    for _ in range(2):  # first all words are new, then all are cached
        assert counter.count(parts) == [num_tokens(vocabulary.tokenizer, part) for part in parts]


def test_ascii_text_is_split_as_by_the_tokenizer():
    split = pre_tokenizers.Split(Regex(WORD_PATTERN), behavior="isolated")
    kinds = ["a", "Z", "s", "'", "0", " ", "\t", "\n", "\r", "\x0b", "\x1c", "\x00", "_", "."]
    for letters in [*product(map(chr, range(128)), repeat=2), *product(kinds, repeat=4)]:
        text = "".join(letters)
        words = ASCII_WORD.findall(text)
        assert words == [word for word, _ in split.pre_tokenize_str(text)], repr(text)
        assert all(ASCII_WORD.findall(word) == [word] for word in words), repr(text)


def changed_tokenizer(
    *, pattern=WORD_PATTERN, behavior="isolated", prefix=False, normalizer=None, dropout=None
):
    letters = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    pair = {"ab": len(letters)}
    backend = Tokenizer(models.BPE(letters | pair, [("a", "b")], dropout=dropout))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior=behavior),
            pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=False),
        ]
    )
    if normalizer is not None:
        backend.normalizer = normalizer
    return PreTrainedTokenizerFast(tokenizer_object=backend)


@pytest.mark.parametrize(
    "change",
    [
        {"pattern": r"\s+"},
        {"behavior": "removed"},
        {"prefix": True},
        {"normalizer": normalizers.Lowercase()},
        {"dropout": 0.5},
    ],
    ids=str,
)
def test_other_tokenizers_tokenize_whole_texts(change):
    assert TokenCounter(changed_tokenizer()).has_words
    assert TokenCounter(changed_tokenizer(normalizer=normalizers.NFC())).has_words
    tokenizer = changed_tokenizer(**change)
    counter = TokenCounter(tokenizer)
    assert not counter.has_words
    if "dropout" not in change:
        texts = ["a b  ab", "Ab ab", ""]
        assert counter.count(texts) == [num_tokens(tokenizer, text) for text in texts]


def test_the_cache_is_bounded(monkeypatch):
    monkeypatch.setattr(token_counts, "MAX_KNOWN", 50)
    tokenizer = small_vocabulary().tokenizer
    counter = TokenCounter(tokenizer)
    for number in range(40):
        texts = [f"word{chr(97 + number % 26)}{'x' * number} and {'y' * (100 + number)} \u00e4 {number}"]
        assert counter.count(texts) == [num_tokens(tokenizer, text) for text in texts]
        assert len(counter._num_tokens_of) <= 50
        assert max(map(len, counter._num_tokens_of), default=0) <= token_counts.MAX_LETTERS
