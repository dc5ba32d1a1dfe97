"""Sentences other than phrases: digits, commands, and requests with an intent.

Requests are made from templates, so that scenario, action, slots and entities are exact.
"""

from dataclasses import dataclass

import numpy as np

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MANDARIN_DIGITS = ("零", "一", "二", "三", "四", "五", "六", "七", "八", "九")

COMMANDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
OTHER_WORDS = ("bird", "cat", "happy", "house", "tree", "water", "paper", "seven", "music", "yellow")
NEW_OTHER_WORDS = ("dog", "window", "summer")
"""Additional words of validation and test."""

VALUES = {
    "room": ("kitchen", "bedroom", "bathroom", "office", "garage"),
    "city": ("paris", "london", "berlin", "madrid", "tokyo", "boston"),
    "person": ("anna", "peter", "maria", "david", "laura", "robert"),
    "time": ("seven", "eight", "nine", "ten", "noon", "midnight"),
    "day": ("monday", "tuesday", "friday", "sunday"),
    "genre": ("jazz", "rock", "techno", "opera"),
    "item": ("milk", "bread", "coffee", "apples", "cheese"),
}

TEMPLATES = (
    ("lights", "on", "turn on the lights in the {room}"),
    ("lights", "off", "turn off the lights in the {room}"),
    ("heating", "increase", "make the {room} warmer"),
    ("heating", "decrease", "make the {room} colder"),
    ("alarm", "set", "wake me up at {time} on {day}"),
    ("alarm", "remove", "delete the alarm for {time}"),
    ("music", "play", "play some {genre} in the {room}"),
    ("music", "stop", "no more {genre} please"),
    ("weather", "query", "what is the weather in {city}"),
    ("transport", "ticket", "book a train from {city} to {city} for {day}"),
    ("contact", "call", "call {person}"),
    ("contact", "message", "tell {person} that i am in {city}"),
    ("lists", "add", "put {item} on the shopping list"),
    ("lists", "remove", "we do not need {item} any more"),
)


@dataclass(frozen=True)
class Request:
    """Sentence with its intent."""

    text: str
    scenario: str
    action: str
    slots: list[list[str]]
    """Type and value, in order of occurrence."""


def draw_digits(rng: np.random.Generator, words: tuple[str, ...], *, least: int, most: int) -> list[str]:
    """Draw words of digits; all lengths are equally frequent."""
    return [words[int(index)] for index in rng.integers(len(words), size=int(rng.integers(least, most + 1)))]


def draw_request(rng: np.random.Generator) -> Request:
    """Fill a random template; no value is used twice."""
    scenario, action, template = TEMPLATES[int(rng.integers(len(TEMPLATES)))]
    words: list[str] = []
    slots: list[list[str]] = []
    for word in template.split():
        if word.startswith("{"):
            kind = word[1:-1]
            unused = [value for value in VALUES[kind] if [kind, value] not in slots]
            word = unused[int(rng.integers(len(unused)))]
            slots.append([kind, word])
        words.append(word)
    return Request(" ".join(words), scenario, action, slots)
