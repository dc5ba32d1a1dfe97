"""Subsets of speech: sentences, voices and labels of their clips.

A planner draws sentences. When they are synthesized, the plan turns them into a clip, or into None if the labels
would not be exact. Each voice belongs to one split (except in ``ages``).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from audio_lm.corpora.synthetic.speech_mix import draw_silence, mix_waves, shift_units
from audio_lm.corpora.synthetic.speech_phrases import KNOWN_PHRASES, NEW_PHRASES
from audio_lm.corpora.synthetic.speech_sentences import (
    COMMANDS,
    DIGITS,
    MANDARIN_DIGITS,
    NEW_OTHER_WORDS,
    OTHER_WORDS,
    draw_digits,
    draw_request,
)
from audio_lm.corpora.synthetic.speech_synthesis import Sentence, Spoken, Unit, duration_of
from audio_lm.corpora.synthetic.spoken_questions import spoken_text
from audio_lm.corpora.synthetic.voices import ACCENTS, LANGUAGES, VOICES_OF_KNOWN_AGE, Voice, draw_voice
from audio_lm.data.audio.decode import Wave

DECLARED = ("gender", "dialect", "age")
AMERICAN = "en-us"
ACCENTS_OF_DIGITS = (AMERICAN, AMERICAN, AMERICAN, "en-gb-x-rp", "en-gb-scotland")
NONE_SHARE = 1 / 6
ENGLISH_SHARE = 0.6

EMOTIONS = {
    "calm": {"rate": (120, 145), "pitch": (34, 44), "range": (8, 25)},
    "neutral": {"rate": (165, 185), "pitch": (46, 54), "range": (45, 55)},
    "excited": {"rate": (210, 240), "pitch": (60, 74), "range": (85, 99)},
}
"""Emotion -> ranges of espeak-ng parameters. The label is a proxy, because no emotion is felt."""

TAPE_SPEEDS = {"female": (0.75, 1.08), "male": (0.92, 1.3)}
PITCH_PER_SPEED = 85  # steps of espeak-ng's pitch that compensate a change of the tape speed
PITCH_JITTER = 12
"""Augmentation in training (ours): tape speed moves the formants of each gender towards the other's, and the pitch is
kept. The few voices become more diverse, and only pitch separates female from male."""


@dataclass(frozen=True)
class SpokenClip:
    """Clip with its labels, ready to be written."""

    wave: Wave
    labels: dict[str, Any]
    units: list[Unit] | None = None
    more_waves: tuple[Wave, ...] = ()


@dataclass(frozen=True)
class ClipPlan:
    """Sentences to synthesize for a clip, and the function that builds the clip."""

    sentences: tuple[Sentence, ...]
    clip_of: Callable[[Sequence[Spoken]], SpokenClip | None]


Planner = Callable[[str, np.random.Generator], ClipPlan]


def digits(split: str, rng: np.random.Generator) -> ClipPlan:
    """One to four English digits; rejected without word times."""
    voice, accent = draw_voice(split, rng), str(rng.choice(ACCENTS_OF_DIGITS))
    text = _digits(rng, least=1, most=4)
    labels = {"language": "en", "text": text, "dialect": ACCENTS[accent]}
    return _single_sentence(sentence(text, accent, voice, rng), voice, labels, split, rng, needs_units=True)


def phrases(split: str, rng: np.random.Generator) -> ClipPlan:
    """A phrase in one of eight languages, and its translation into another."""
    return _phrase(KNOWN_PHRASES, split, rng)


def phrases_new(split: str, rng: np.random.Generator) -> ClipPlan:
    """Like ``phrases``, with phrases that are not in training."""
    return _phrase(NEW_PHRASES, split, rng)


def commands(split: str, rng: np.random.Generator) -> ClipPlan:
    """One of ten command words, or another word with the keyword ``none``."""
    voice, accent = draw_voice(split, rng), str(rng.choice(ACCENTS_OF_DIGITS))
    others = OTHER_WORDS if split == "train" else OTHER_WORDS + NEW_OTHER_WORDS
    is_command = rng.random() >= NONE_SHARE
    word = str(rng.choice(COMMANDS if is_command else others))
    labels = {"language": "en", "text": word, "keyword": word if is_command else "none"}
    return _single_sentence(sentence(word, accent, voice, rng), voice, labels, split, rng)


def intents(split: str, rng: np.random.Generator) -> ClipPlan:
    """A request with scenario, action and slots, and the values of the slots as entities."""
    voice, request = draw_voice(split, rng), draw_request(rng)
    labels = {
        "language": "en",
        "text": request.text,
        "scenario": request.scenario,
        "action": request.action,
        "slots": request.slots,
        "entities": [[value, kind] for kind, value in request.slots],
    }
    return _single_sentence(sentence(request.text, AMERICAN, voice, rng), voice, labels, split, rng)


def mandarin(split: str, rng: np.random.Generator) -> ClipPlan:
    """Two to six Mandarin digits; rejected without a time for each character."""
    voice = draw_voice(split, rng)
    text = "".join(draw_digits(rng, MANDARIN_DIGITS, least=2, most=6))
    labels = {"language": "zh", "text": text}
    return _single_sentence(
        sentence(text, LANGUAGES["zh"], voice, rng), voice, labels, split, rng, needs_units=True
    )


def dialects(split: str, rng: np.random.Generator) -> ClipPlan:
    """A request in one of five accents of English."""
    voice, accent = draw_voice(split, rng), str(rng.choice(list(ACCENTS)))
    text = draw_request(rng).text
    labels = {"language": "en", "text": text, "dialect": ACCENTS[accent]}
    return _single_sentence(sentence(text, accent, voice, rng), voice, labels, split, rng)


def ages(split: str, rng: np.random.Generator) -> ClipPlan:
    """Digits by voices with a declared age; the same voices in every split."""
    voice = VOICES_OF_KNOWN_AGE[int(rng.integers(len(VOICES_OF_KNOWN_AGE)))]
    text = _digits(rng, least=2, most=4)
    labels = {"language": "en", "text": text, "age": voice.age}
    return _single_sentence(sentence(text, AMERICAN, voice, rng), voice, labels, split, rng)


def emotions(split: str, rng: np.random.Generator) -> ClipPlan:
    """A request with calm, neutral or excited prosody."""
    voice, emotion = draw_voice(split, rng), str(rng.choice(list(EMOTIONS)))
    text = draw_request(rng).text
    manner = {key: int(rng.integers(low, high + 1)) for key, (low, high) in EMOTIONS[emotion].items()}
    labels = {"language": "en", "text": text, "emotion": emotion}
    spoken = sentence(text, AMERICAN, voice, rng, **manner)
    return _single_sentence(spoken, voice, labels, split, rng, is_varied=False)


def spoken_questions(split: str, rng: np.random.Generator) -> ClipPlan:
    """A spoken question or exercise, for conversations without text."""
    voice, text = draw_voice(split, rng), spoken_text(float(rng.random()))
    labels = {"language": "en", "text": text}
    return _single_sentence(sentence(text, AMERICAN, voice, rng), voice, labels, split, rng)


def overlaps(split: str, rng: np.random.Generator) -> ClipPlan:
    """Overlapping digits by two voices, in the order of their start."""
    first = draw_voice(split, rng)
    second = draw_voice(split, rng, gender="female" if first.gender == "male" else "male")
    texts = [_digits(rng, least=2, most=3) for _ in range(2)]
    speakers = zip(texts, (first, second), strict=True)
    sentences = tuple(sentence(text, AMERICAN, voice, rng) for text, voice in speakers)

    def clip_of(spoken: Sequence[Spoken]) -> SpokenClip:
        start = draw_silence(rng)
        lag = rng.uniform(0.15, 0.6) * duration_of(spoken[0].wave)
        placed = [(start, spoken[0].wave), (start + lag, spoken[1].wave)]
        wave = mix_waves(placed, rng, is_noisy=split == "train")
        return SpokenClip(wave, _add_honesty({"language": "en", "texts": texts}))

    return ClipPlan(sentences, clip_of)


def pairs(split: str, rng: np.random.Generator) -> ClipPlan:
    """Two clips by one voice or two; two voices have the same gender in three quarters of them."""
    first, is_same = draw_voice(split, rng), rng.random() < 0.5
    is_same_gender = rng.random() < 0.5
    other = draw_voice(split, rng, gender=first.gender if is_same_gender else None, other_than=first.name)
    sentences = tuple(
        sentence(
            _digits(rng, least=2, most=4),
            AMERICAN,
            voice,
            rng,
            pitch=int(rng.integers(47, 54)),
        )
        for voice in (first, first if is_same else other)
    )

    def clip_of(spoken: Sequence[Spoken]) -> SpokenClip:
        waves = [
            mix_waves([(draw_silence(rng), utterance.wave)], rng, is_noisy=split == "train")
            for utterance in spoken
        ]
        labels = {"language": "en", "same_speaker": "yes" if is_same else "no"}
        return SpokenClip(waves[0], _add_honesty(labels), more_waves=(waves[1],))

    return ClipPlan(sentences, clip_of)


def meetings(split: str, rng: np.random.Generator) -> ClipPlan:
    """Two or three voices that take turns with digits, and the times of their turns."""
    voices = [draw_voice(split, rng, gender="female"), draw_voice(split, rng, gender="male")]
    if rng.random() < 0.5:
        voices.append(draw_voice(split, rng, gender="male", other_than=voices[1].name))
    rng.shuffle(voices)
    num_turns = int(rng.integers(len(voices), 5))
    order = [turn % len(voices) for turn in range(num_turns)]
    pitches = [int(pitch) for pitch in rng.integers(44, 57, size=len(voices))]
    sentences = tuple(
        sentence(
            _digits(rng, least=1, most=3),
            AMERICAN,
            voices[speaker],
            rng,
            pitch=pitches[speaker],
        )
        for speaker in order
    )

    def clip_of(spoken: Sequence[Spoken]) -> SpokenClip:
        placed, turns, start = [], [], draw_silence(rng)
        for speaker, utterance in zip(order, spoken, strict=True):
            placed.append((start, utterance.wave))
            turn_start, turn_end = start + utterance.words[0][1], start + utterance.words[-1][2]
            turns.append([f"speaker {speaker + 1}", round(turn_start, 4), round(turn_end, 4)])
            start += duration_of(utterance.wave) + draw_silence(rng)
        wave = mix_waves(placed, rng, is_noisy=split == "train")
        return SpokenClip(wave, _add_honesty({"language": "en", "turns": turns}))

    return ClipPlan(sentences, clip_of)


PLANNERS: Mapping[str, Planner] = {
    "digits": digits,
    "phrases": phrases,
    "commands": commands,
    "intents": intents,
    "mandarin": mandarin,
    "dialects": dialects,
    "ages": ages,
    "emotions": emotions,
    "overlaps": overlaps,
    "pairs": pairs,
    "meetings": meetings,
    "spoken_questions": spoken_questions,
}


def sentence(text: str, accent: str, voice: Voice, rng: np.random.Generator, **manner: int) -> Sentence:
    """Sentence with random prosody, unless ``manner`` sets it."""
    drawn = {
        "pitch": int(rng.integers(38, 63)),
        "range": int(rng.integers(30, 76)),
        "rate": int(rng.integers(140, 206)),
        "seed": int(rng.integers(1, 2**31)),
    }
    return Sentence(text, f"{accent}+{voice.name}", **{**drawn, **manner})


def _digits(rng: np.random.Generator, *, least: int, most: int) -> str:
    return " ".join(draw_digits(rng, DIGITS, least=least, most=most))


def _phrase(table: Sequence[Mapping[str, str]], split: str, rng: np.random.Generator) -> ClipPlan:
    voice, phrase = draw_voice(split, rng), table[int(rng.integers(len(table)))]
    language = str(rng.choice(list(LANGUAGES)))
    others = [other for other in LANGUAGES if other != language]
    target = "en" if "en" in others and rng.random() < ENGLISH_SHARE else str(rng.choice(others))
    labels = {
        "language": language,
        "text": phrase[language],
        "translation": phrase[target],
        "target_language": target,
    }
    spoken = sentence(phrase[language], LANGUAGES[language], voice, rng)
    return _single_sentence(spoken, voice, labels, split, rng)


def _single_sentence(
    to_speak: Sentence,
    voice: Voice,
    labels: Mapping[str, Any],
    split: str,
    rng: np.random.Generator,
    *,
    needs_units: bool = False,
    is_varied: bool = True,
) -> ClipPlan:
    """Plan of one sentence by one voice, with word times where the synthesizer gives them.

    Args:
        is_varied: vary tape speed and pitch of training clips.
    """
    if is_varied and split == "train":
        speed = float(rng.uniform(*TAPE_SPEEDS[voice.gender]))
        pitch = 50 + PITCH_PER_SPEED * (1 / speed - 1) + rng.uniform(-PITCH_JITTER, PITCH_JITTER)
        to_speak = replace(to_speak, pitch=round(pitch), speed=speed)

    def clip_of(spoken: Sequence[Spoken]) -> SpokenClip | None:
        start = draw_silence(rng)
        units = shift_units(spoken[0].units(), start)
        if needs_units and units is None:
            return None
        wave = mix_waves([(start, spoken[0].wave)], rng, is_noisy=split == "train")
        age = {"age": voice.age} if voice.age else {}
        known = {"speaker": voice.name, "gender": voice.gender, **age, **labels}
        return SpokenClip(wave, _add_honesty(known, has_units=units is not None), units)

    return ClipPlan((to_speak,), clip_of)


def _add_honesty(labels: Mapping[str, Any], *, has_units: bool = False) -> dict[str, Any]:
    """Add the label ``honesty``."""
    honesty = {label: "exact" for label in labels if label != "speaker"}
    honesty |= {label: "declared" for label in DECLARED if label in labels}
    honesty |= {"emotion": "proxy"} if "emotion" in labels else {}
    honesty |= {"units": "exact"} if has_units else {}
    return {**labels, "honesty": honesty}
