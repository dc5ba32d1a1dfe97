"""Example prompts: questions that the model was trained with.

For tasks they are the wordings of training; for conversations the first user turns of the training data, where it is
still on this machine.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from audio_lm.common.errors import DataError
from audio_lm.config.schema import Recipe
from audio_lm.data.manifest import shar
from audio_lm.data.manifest.cuts import cut_set_path
from audio_lm.prompts.natural import training_prompts
from audio_lm.prompts.templates import fields_of
from audio_lm.run.load_model import LoadedModel, is_run
from audio_lm.run.open import open_run
from audio_lm.tasks.registry import CHAT

NUM_LINES_READ = 400  # of each manifest
MAX_PROMPTS = 12
MAX_CHARACTERS = 90


@dataclass(frozen=True)
class ExamplePrompt:
    """A question, and the task that it belongs to."""

    task: str
    text: str


def example_prompts(
    loaded: LoadedModel, path: str, *, trusts_code: bool = False
) -> tuple[ExamplePrompt, ...]:
    """Prompts to offer for a model.

    Args:
        path: run or folder that it was loaded from.
    """
    spoken: list[ExamplePrompt] = []
    if CHAT in loaded.tasks and is_run(path):
        recipe, _ = open_run(Path(path), trusts_code=trusts_code)
        spoken = [ExamplePrompt(CHAT, text) for text in _questions(recipe)]
    tasks = [name for name in loaded.tasks if name != CHAT] or ([] if spoken else [*loaded.task_table])
    prompts = [
        ExamplePrompt(name, text)
        for name in tasks
        if loaded.task_table[name].row is not None or name in loaded.tasks
        for text in [_wording(loaded, name)]
        if text
    ]
    return (*spoken, *prompts)[:MAX_PROMPTS]


def _wording(loaded: LoadedModel, name: str) -> str | None:
    """First wording of a task that needs no label; None if each needs one."""
    texts = training_prompts(loaded.task_table[name])
    return next((text.strip() for text in texts if text.strip() and not fields_of(text)), None)


def _questions(recipe: Recipe) -> list[str]:
    """Different first questions of the conversations that the recipe trains on, the most frequent first."""
    counts: dict[str, int] = {}
    sources = [source for stage in recipe.stages.values() for source in stage.mixture.sources.get(CHAT, ())]
    for source in dict.fromkeys(sources):
        with suppress(DataError, OSError):
            path = cut_set_path(Path(recipe.data_dir), source)
            for line in islice(shar.lines_of(path), NUM_LINES_READ):
                for text in _first_question(line.text):
                    counts[text] = counts.get(text, 0) + 1
    return sorted(counts, key=lambda text: -counts[text])


def _first_question(line: bytes) -> Iterator[str]:
    """Text of the first user turn, if it is about a clip and short enough to offer."""
    with suppress(ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        turns = json.loads(line)["supervisions"][0]["custom"]["conversation"]
        content = next(turn["content"] for turn in turns if turn["role"] == "user")
        texts = [part["text"].strip() for part in content if part.get("text")]
        has_clip = any("audio" in part for part in content)
        if has_clip and len(texts) == 1 and 0 < len(texts[0]) <= MAX_CHARACTERS:
            yield texts[0]
