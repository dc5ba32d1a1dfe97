"""The same question in different words, some of them never heard in training.

A wording kept for validation and test is made of words that training wordings of
the same question contain, so that it asks for understanding and not for vocabulary.
"""

from dataclasses import dataclass

from audio_lm.corpora.synthetic.split_random import SplitRandom

HELD_OUT_SHARE = 0.5


@dataclass(frozen=True)
class Wordings:
    """Ways to ask one question."""

    training: tuple[str, ...]
    """Asked in every split."""

    held_out: tuple[str, ...]
    """Asked in validation and test only, there ``HELD_OUT_SHARE`` of the time."""

    def choose(self, random: SplitRandom, **values: str) -> str:
        """A wording that the split may ask, with its gaps filled."""
        is_held_out = random.split != "train" and random.bernoulli(HELD_OUT_SHARE)
        return random.choice(self.held_out if is_held_out else self.training).format(**values)


def with_article(name: str) -> str:
    """The name of a thing after its article.

    >>> with_article("organ"), with_article("beep")
    ('an organ', 'a beep')
    """
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
