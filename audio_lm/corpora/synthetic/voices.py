"""Voices with their splits, and their declared gender and age.

A voice is a variant file of espeak-ng, usable with any language. The file only *declares* gender and age, so these labels
are never "exact". Excluded are files without a declared gender, voices whose gender label is audibly wrong, and one
voice of each pair that sounds similar across splits.

``steph`` has male formants, and only its pitch is female. It was a test voice until its gender was recognized wrongly in
most clips; now it is a validation voice and ``belinda`` a test voice, so gender scores before and after that change are
not comparable. Some held-out voices are similar to a training voice (m2 to m3, belinda to linda, by mean and standard
deviation of the log-mel spectrogram): unseen voices, but not all are very different.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Voice:
    """Voice of a speaker."""

    name: str
    """Name of the variant file."""

    gender: str
    age: str | None = None
    """Decade, such as "thirties", if the file declares an age."""


VOICES: dict[str, tuple[Voice, ...]] = {
    "train": (
        Voice("m1", "male", "seventies"),
        Voice("m3", "male"),
        Voice("m4", "male"),
        Voice("m8", "male", "fifties"),
        Voice("Denis", "male", "thirties"),
        Voice("Diogo", "male", "twenties"),
        Voice("Andy", "male"),
        Voice("antonio", "male"),
        Voice("Lee", "male"),
        Voice("Marco", "male", "thirties"),
        Voice("miguel", "male", "twenties"),
        Voice("sandro", "male"),
        Voice("travis", "male", "thirties"),
        Voice("f1", "female", "seventies"),
        Voice("f2", "female"),
        Voice("f3", "female"),
        Voice("linda", "female"),
        Voice("Annie", "female"),
        Voice("grandma", "female", "nineties"),
        Voice("Alicia", "female"),
        Voice("Andrea", "female"),
        Voice("anika", "female"),
        Voice("f5", "female"),
    ),
    "validation": (
        Voice("m5", "male"),
        Voice("m6", "male"),
        Voice("aunty", "female"),
        Voice("steph", "female"),
    ),
    "test": (
        Voice("m2", "male"),
        Voice("m7", "male"),
        Voice("f4", "female"),
        Voice("belinda", "female"),
    ),
}

VOICES_OF_KNOWN_AGE = tuple(voice for voice in VOICES["train"] if voice.age)
"""Voices of all splits of the subset ``ages``, because the age of an unseen voice cannot be recognized."""

LANGUAGES = {"en": "en-us", "zh": "cmn"} | {name: name for name in ("de", "es", "ko", "fr", "ja", "it")}
"""Language -> its name in espeak-ng."""

ACCENTS = {
    "en-us": "american",
    "en-gb-x-rp": "received pronunciation",
    "en-gb-scotland": "scottish",
    "en-gb-x-gbclan": "lancaster",
    "en-029": "caribbean",
}
"""Name in espeak-ng -> name in the label ``dialect``."""


def draw_voice(
    split: str, rng: np.random.Generator, *, gender: str | None = None, other_than: str = ""
) -> Voice:
    """Draw a voice of a split; both genders are equally frequent."""
    gender = gender or str(rng.choice(["female", "male"]))
    voices = [voice for voice in VOICES[split] if voice.gender == gender and voice.name != other_than]
    return voices[int(rng.integers(len(voices)))]
