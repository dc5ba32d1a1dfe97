import pytest
import torch

from audio_lm.common.errors import RecipeError
from audio_lm.prompts.stamp_order import IncreasingStamps
from audio_lm.prompts.tokenizer import train_tokenizer
from audio_lm.prompts.vocabulary import STAMPS, TEXT_TOKENS, Vocabulary


def allowed(constraint, vocabulary, text):
    """Stamps that may follow an answer."""
    logits = torch.zeros(len(vocabulary))
    masked = constraint.constrain(logits, vocabulary.ids(text, is_markup=True))
    assert torch.equal(logits, torch.zeros(len(vocabulary))), "the logits of the model are not modified"
    others = torch.ones(len(vocabulary), dtype=torch.bool)
    others[[vocabulary.id_of[stamp] for stamp in STAMPS]] = False
    assert torch.isfinite(masked[others]).all(), "words are never forbidden"
    return [stamp for stamp in STAMPS if torch.isfinite(masked[vocabulary.id_of[stamp]])]


def test_a_stamp_is_later_than_the_last_one(vocabulary):
    constraint = IncreasingStamps(vocabulary)
    assert allowed(constraint, vocabulary, "") == list(STAMPS)
    assert allowed(constraint, vocabulary, "<|0.00|>one<|0.50|>")[0] == "<|0.51|>"
    assert allowed(constraint, vocabulary, "<|0.00|>one<|0.50|><|sil|>")[0] == "<|0.51|>"
    assert allowed(constraint, vocabulary, "one<|30.00|>") == []


def test_no_stamp_is_after_the_end_of_the_clip(vocabulary):
    constraint = IncreasingStamps(vocabulary, num_seconds=1.234)
    assert allowed(constraint, vocabulary, "")[-1] == "<|1.23|>"
    assert allowed(constraint, vocabulary, "<|1.20|>") == ["<|1.21|>", "<|1.22|>", "<|1.23|>"]
    assert allowed(constraint, vocabulary, "<|1.23|>") == []


def test_a_vocabulary_without_stamps_is_refused():
    tokenizer = train_tokenizer(["one"] * 4, vocab_size=260)
    with pytest.raises(RecipeError, match="has no time stamps"):
        IncreasingStamps(Vocabulary(tokenizer, num_base=len(tokenizer), tokens=TEXT_TOKENS))


def test_a_stamp_is_the_median_of_the_allowed_ones(vocabulary):
    """The most probable stamp is 0.20 s; with the stamps up to 0.30 s forbidden, half of the rest lies before 0.60 s."""
    shares = {"<|0.20|>": 0.4, "<|0.50|>": 0.2, "<|0.60|>": 0.1, "<|0.70|>": 0.25}
    logits = torch.full((len(vocabulary),), -30.0)
    for stamp, share in shares.items():
        logits[vocabulary.id_of[stamp]] = torch.tensor(share).log()
    logits[0] = torch.tensor(0.05).log()
    constraint = IncreasingStamps(vocabulary)
    assert allowed_of(constraint, vocabulary, logits, "") == ["<|0.50|>"]
    assert allowed_of(constraint, vocabulary, logits, "<|0.30|>one") == ["<|0.60|>"]
    logits[0] = 0.0
    assert len(allowed_of(constraint, vocabulary, logits, "<|0.30|>one")) > 1000, "a word is more probable"


def allowed_of(constraint, vocabulary, logits, text):
    """Stamps that may follow an answer, given the logits."""
    masked = constraint.constrain(logits, vocabulary.ids(text, is_markup=True))
    return [stamp for stamp in STAMPS if torch.isfinite(masked[vocabulary.id_of[stamp]])]
