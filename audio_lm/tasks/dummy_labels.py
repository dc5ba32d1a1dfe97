"""Dummy labels that satisfy every task, for previews and tests."""

from typing import Any

from audio_lm.tasks.task import Task

LABELS: dict[str, Any] = {
    "language": "en",
    "text": "Ada met Bob in Paris",
    "units": [["she", 0.5, 0.67], ["sells", 0.67, 1.01]],
    "texts": ["good morning", "hello there"],
    "translation": "guten Morgen",
    "target_language": "de",
    "dialect": "scottish",
    "gender": "female",
    "age": "twenties",
    "emotion": "happy",
    "mood": "calm",
    "same_speaker": "yes",
    "turns": [["b", 1.0, 2.5], ["a", 0.0, 1.2], ["b", 3.0, 3.5]],
    "entities": [["Ada", "person"], ["Paris", "place"]],
    "keyword": "seven",
    "scenario": "music",
    "action": "play",
    "slots": [["room", "kitchen"], ["time", "noon"]],
    "vocal_sound": "cough",
    "caption": "a siren sweeps",
    "events": ["siren sweep", "beep"],
    "event_times": [["beep", 0.0, 0.5], ["siren sweep", 0.2, 1.0], ["beep", 2.0, 2.5]],
    "scene": "harbour",
    "question": "Is there a beep?",
    "answer": "yes",
    "singer": "nobody",
    "genre": "waltz",
    "title": "Ode to Joy",
    "instrument": "flute",
    "pitch": 60,
    "velocity": 90,
    "qualities": ["bright", "fast_decay"],
}

CONVERSATION: list[dict[str, Any]] = [
    {"role": "user", "content": [{"audio": 1}, {"text": "Who is speaking?"}]},
    {"role": "assistant", "content": [{"text": "Ada, who says that she met Bob in Paris."}]},
]


def labels_for(task: Task) -> dict[str, Any]:
    """Dummy labels in a language that the task accepts."""
    return {**LABELS, "language": task.language or "en"}
