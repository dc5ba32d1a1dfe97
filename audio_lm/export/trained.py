"""Prompts of the tasks that a run was trained on, verbatim, as text for the tokenizer of an exported folder.

Texts come from the renderers of training. Fields of a template, such as ``{language}``, stay in braces.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from audio_lm.config.schema import Recipe
from audio_lm.data.examples import Prompt
from audio_lm.prompts.conversation import join_text
from audio_lm.prompts.natural import evaluation_prompts, training_prompts
from audio_lm.prompts.render import render, render_chat
from audio_lm.tasks.registry import CHAT, find_task
from audio_lm.tasks.task import Task

TEXT_FIELD = "{text}"
"""Field of the words of a chat, which has no template."""

_MARK = "\0"


@dataclass(frozen=True)
class TrainedTask:
    """A task in the prompt format of the stages that trained it."""

    name: str
    title: str
    prompt: Prompt
    stages: tuple[str, ...]
    num_clips: int

    texts: tuple[str, ...]
    """Whole prompts, from which training draws; each clip is one ``<|AUDIO|>``."""

    held_out: str
    """Whole prompt that evaluation uses; one of ``texts`` if the task has no other."""


def stages_until(recipe: Recipe, stage: str) -> list[str]:
    """Stages that the weights of a stage were trained in."""
    names = list(recipe.stages)
    return names[: names.index(stage) + 1]


def trained_tasks(recipe: Recipe, stage: str) -> list[TrainedTask]:
    """Tasks that the weights of a stage were trained on; those of the stage itself first."""
    stages_of: dict[tuple[str, Prompt], list[str]] = {}
    for name in reversed(stages_until(recipe, stage)):
        config = recipe.stages[name]
        for task in config.mixture.drawn_tasks:
            stages_of.setdefault((task, config.prompt), []).insert(0, name)
    tasks = recipe.task_table
    return [
        _trained(None if name == CHAT else find_task(name, tasks), prompt, stages)
        for (name, prompt), stages in stages_of.items()
    ]


def _trained(task: Task | None, prompt: Prompt, stages: Sequence[str]) -> TrainedTask:
    """A task, or a chat if it is None."""
    if task is None:
        turn = {"role": "user", "content": [{"audio": 1}, {"text": TEXT_FIELD}]}
        text = join_text(render_chat([turn], with_answer=False))
        return TrainedTask(CHAT, "conversations about clips", prompt, tuple(stages), 1, (text,), text)
    texts: tuple[str, ...] = (task.tags,)
    held_out: tuple[str, ...] = (task.tags,)
    if prompt != "tags":
        texts, held_out = (*training_prompts(task), *task.prompts_zh), evaluation_prompts(task)
    whole = [frame(task, prompt).replace(_MARK, text) for text in (*texts, *held_out)]
    title = task.title or task.name
    return TrainedTask(task.name, title, prompt, tuple(stages), task.num_clips, tuple(whole[:-1]), whole[-1])


def frame(task: Task, prompt: Prompt) -> str:
    """Prompt of a task without its question, which ``_MARK`` stands for."""
    blank = replace(task, tags=_MARK, prompts=(_MARK,), prompts_zh=())
    return join_text(render(blank, {}, prompt=prompt, with_answer=False))
