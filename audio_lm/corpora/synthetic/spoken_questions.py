"""Spoken questions: wordings of the questions about a clip, and small exercises, each with its answer.

Their clips are the subset ``spoken_questions``; ``spoken.py`` builds conversations. There are few wordings, so that a small
model can tell them apart by ear; voices of validation and test are new.
"""

from audio_lm.corpora.synthetic.speech_sentences import DIGITS

ABOUT_A_CLIP = {
    "digits": ("which digits do you hear", "please repeat the digits"),
    "num_digits": ("how many digits do you hear", "count the digits"),
    "gender": ("is the voice male or female", "is it a man or a woman"),
    "language": ("which language is this", "name the language"),
    "command": ("which command do you hear", "what is the command"),
    "instrument": ("which instrument is playing", "name the instrument"),
    "event": ("what sound is this", "name the sound"),
    "nature": ("is this speech or music or a sound",),
}
"""Name of a question of ``questions.py`` -> spoken wordings."""

OPPOSITES = (("up", "down"), ("left", "right"), ("on", "off"), ("yes", "no"), ("stop", "go"))

EXERCISES = {
    **{
        f"what is the opposite of {word}": answer for pair in OPPOSITES for word, answer in (pair, pair[::-1])
    },
    **{f"which number comes after {DIGITS[number]}": DIGITS[number + 1] for number in range(9)},
    **{f"which number comes before {DIGITS[number]}": DIGITS[number - 1] for number in range(1, 10)},
}
"""Spoken exercise -> answer."""

NAME_OF_TEXT = {text: name for name, texts in ABOUT_A_CLIP.items() for text in texts}
EXERCISE_SHARE = 0.4


def spoken_text(draw: float) -> str:
    """Text of a spoken question for a number between 0 and 1.

    >>> spoken_text(0.0), spoken_text(0.99)
    ('what is the opposite of up', 'is this speech or music or a sound')
    """
    texts = tuple(EXERCISES) if draw < EXERCISE_SHARE else tuple(NAME_OF_TEXT)
    low, high = (0.0, EXERCISE_SHARE) if draw < EXERCISE_SHARE else (EXERCISE_SHARE, 1.0)
    return texts[int(len(texts) * (draw - low) / (high - low))]
