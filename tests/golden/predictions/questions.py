"""Questions with choices and answers of an imagined system, for golden scores of published evaluation scripts.

Questions are ours. Answers name a letter, a text, both, two choices or none, in the forms that the scripts treat in
different ways; some have no answer at all.
"""

import random

TOPICS = (
    ("Who is speaking?", ("Man", "Woman", "Child", "Robot")),
    ("What follows the bell?", ("A dog barks", "A dog howls", "A cat meows", "Silence")),
    ("In which key is the piece?", ("C major", "C# minor", "A minor", "G major")),
    ("How many people talk?", ("One", "Two", "Three", "Four")),
    ("What is the mood?", ("Happy", "Not happy", "Sad", "Angry")),
    ("Where was it recorded?", ("In a car", "In a café", "On a beach", "In an office")),
    ("Is there music?", ("Yes", "No")),
    ("Which instrument leads?", ("Violin", "Viola", "Cello")),
    ("What year is named?", ("1998", "1989", "2008", "1899")),
    ("What does she want?", ("To go home by train", "To go home", "To stay", "It's unclear")),
)
FORMS = (
    "{letter}",
    "{letter}.",
    "({letter})",
    "{lower}",
    "{letter}. {text}",
    "{letter}) {text}",
    "{text}",
    "{text}.",
    "{lower_text}",
    "The answer is {letter}.",
    "The correct answer is ({letter}), not {other_letter}",
    "I think it is {text} because of the sound.",
    "I hear {text}, but it could be {other} as well",
    "{letter} or {other_letter}",
    "{other_letter} is wrong, so {letter} ",
    "A recording of a street, so {text}",
    "None of them.",
    "None",
    "",
    "\n{letter}\n",
    "The choices {letter}. and {other_letter}. are near; finally {letter}",
    "'{text}'",
    "**{letter}**",
)


def questions(count: int, num_choices: int | None = None) -> list[dict]:
    """Questions with an answer; the same in every call.

    Args:
        num_choices: only topics with this number of choices.
    """
    rng = random.Random(f"questions {count} {num_choices}")
    topics = [topic for topic in TOPICS if num_choices in (None, len(topic[1]))]
    return [_question(rng, number, *topics[number % len(topics)]) for number in range(count)]


def _question(rng: random.Random, number: int, question: str, choices: tuple[str, ...]) -> dict:
    order = rng.sample(choices, len(choices))
    correct, chosen, other = (rng.randrange(len(order)) for _ in range(3))
    if rng.random() < 0.6:
        chosen = correct
    form = rng.choice(FORMS)
    answer = form.format(
        letter="ABCD"[chosen],
        lower="abcd"[chosen],
        text=order[chosen],
        lower_text=order[chosen].lower(),
        other=order[other],
        other_letter="ABCD"[other],
    )
    return {
        "id": f"q{number:03d}",
        "question": question,
        "choices": order,
        "answer": order[correct],
        "letter": "ABCD"[correct],
        "prediction": None if rng.random() < 0.08 else answer,
    }


CAPTIONS = (
    "A dog barks twice while cars pass by on a wet road.",
    "Someone types on a keyboard (slowly) and then sighs.",
    "Birds chirp, and a woman's voice can be heard far away.",
    "Water is poured into a glass; the glass is put down.",
    "A train passes with a loud, high-pitched horn.",
    "The wind blows strongly as waves crash on the shore.",
)


def captions(count: int) -> list[dict]:
    """Captions with five references each; words are dropped, repeated and exchanged."""
    rng = random.Random("captions")
    rows = []
    for number in range(count):
        base = CAPTIONS[number % len(CAPTIONS)].split()
        texts = [" ".join(_changed(rng, base)) for _ in range(6)]
        rows.append({"id": f"c{number:03d}", "references": texts[:5], "answer": texts[5]})
    return rows


def _changed(rng: random.Random, words: list[str]) -> list[str]:
    changed = [word for word in words if rng.random() > 0.15] or words[:1]
    for _ in range(rng.randrange(3)):
        changed.insert(
            rng.randrange(len(changed) + 1), rng.choice(["loudly", "nearby,", "a", "again.", "the"])
        )
    return changed


UNITS = ("面", "条", "机", "she", "sells", "shells", "<|sil|>", "海")


def stamped(count: int) -> list[tuple[str, str]]:
    """Reference and answer with word time stamps, in Qwen-Audio's form; units are replaced, dropped and moved in time."""
    rng = random.Random("stamped")
    rows = []
    for _ in range(count):
        units = [rng.choice(UNITS) for _ in range(rng.randrange(2, 9))]
        answer = [rng.choice(UNITS) if rng.random() < 0.15 else unit for unit in units if rng.random() > 0.1]
        rows.append((_with_stamps(rng, units), _with_stamps(rng, answer or units[:1])))
    return rows


def _with_stamps(rng: random.Random, units: list[str]) -> str:
    time, text = 0.0, "<|0.00|>"
    for unit in units:
        time += rng.randrange(5, 90) / 100
        text += f"{unit}<|{time:.2f}|>"
    return text


def notes(count: int) -> list[tuple[str, str]]:
    """Reference and answer of note analysis, in Qwen-Audio's form."""
    rng = random.Random("notes")
    return [tuple(_note(rng, is_answer) for is_answer in (False, True)) for _ in range(count)]


def _note(rng: random.Random, is_answer: bool) -> str:
    if is_answer and rng.random() < 0.1:
        return rng.choice(["", "flute", "<|pitch|><|midi_pitch_x|>"])
    pitch, velocity = rng.choice([60, 61, 72]), rng.choice([25, 50])
    qualities = rng.sample(["dark", "bright", "distortion", "reverb", "percussive"], rng.randrange(3))
    instrument = rng.choice(["flute", "guitar", "string"])
    return (
        f"<|pitch|><|midi_pitch_{pitch}|><|velocity|><|midi_velocity_{velocity}|>"
        f"<|instrument|>{instrument}<|sonic|>{', '.join(qualities)}"
    )
