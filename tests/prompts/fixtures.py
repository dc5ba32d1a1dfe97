"""Small vocabulary on a trained tokenizer, and the list of tasks, for tests of prompts."""

from functools import cache

from audio_lm.common.runtime import random_for
from audio_lm.prompts.tokenizer import train_tokenizer
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.tasks.registry import TASKS

TEXTS = [
    "she sells sea shells by the sea shore",
    "What does the person say?",
    "one two three four five six seven",
] * 4
SPARE_ROWS = 3  # embedding tables often have more rows than the tokenizer has tokens


@cache
def small_vocabulary():
    tokenizer = train_tokenizer(TEXTS, vocab_size=400)
    return Vocabulary(tokenizer, num_base=len(tokenizer) + SPARE_ROWS)


def rng(number=0):
    return random_for("test", number)


ALL_TASKS = list(TASKS.values())
