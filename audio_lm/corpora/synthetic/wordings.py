"""Different wordings of a question, some of them held out from training.

A held-out wording consists of words in the training wordings of the same question, so that it tests understanding
rather than vocabulary.
"""

from dataclasses import dataclass

from audio_lm.corpora.synthetic.split_random import SplitRandom

HELD_OUT_SHARE = 0.5


@dataclass(frozen=True)
class Wordings:
    """Wordings of one question."""

    training: tuple[str, ...]
    """Used in every split."""

    held_out: tuple[str, ...]
    """Used in validation and test only, with probability ``HELD_OUT_SHARE``."""

    def choose(self, random: SplitRandom, **values: str) -> str:
        """Draw a wording for the split, and fill in the values."""
        is_held_out = random.split != "train" and random.bernoulli(HELD_OUT_SHARE)
        return random.choice(self.held_out if is_held_out else self.training).format(**values)


def with_article(name: str) -> str:
    """Name with its indefinite article.

    >>> with_article("organ"), with_article("beep")
    ('an organ', 'a beep')
    """
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
