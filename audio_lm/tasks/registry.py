"""All tasks by name."""

from collections.abc import Iterable, Mapping

from audio_lm.common.errors import RecipeError, unknown
from audio_lm.common.extensions import Registry, with_hint
from audio_lm.tasks.music import MUSIC_TASKS
from audio_lm.tasks.sound import SOUND_TASKS
from audio_lm.tasks.speech import SPEECH_TASKS
from audio_lm.tasks.task import Task

CHAT = "chat"
"""Name of conversations in mixtures. No task of the table, as every conversation has its own questions."""

TASKS = Registry("task", (*SPEECH_TASKS, *SOUND_TASKS, *MUSIC_TASKS), attribute="TASKS")


def find_task(name: str, tasks: Mapping[str, Task] = TASKS) -> Task:
    """Find a task by name.

    Args:
        tasks: those of a recipe, with its own; by default those in code.

    Raises:
        RecipeError: unknown task; the message suggests the nearest name.
    """
    check_task_name(name, tasks)
    return tasks[name]


def check_task_name(name: str, known: Iterable[str]) -> None:
    """Check that a task exists.

    Raises:
        RecipeError: it does not; the message suggests the nearest name.
    """
    if name not in (names := list(known)):
        raise RecipeError(
            with_hint(
                unknown(
                    "task",
                    name,
                    names,
                    see="audio_lm/tasks/, or define your own under `tasks` or in conf/task/",
                )
            )
        )
