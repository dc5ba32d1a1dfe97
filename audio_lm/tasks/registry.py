"""All tasks by name."""

from audio_lm.common.errors import RecipeError, unknown
from audio_lm.tasks.music import MUSIC_TASKS
from audio_lm.tasks.sound import SOUND_TASKS
from audio_lm.tasks.speech import SPEECH_TASKS
from audio_lm.tasks.task import Task

CHAT = "chat"
"""Name of conversations in mixtures. No task of the table, as every conversation has its own questions."""

TASKS: dict[str, Task] = {task.name: task for task in (*SPEECH_TASKS, *SOUND_TASKS, *MUSIC_TASKS)}


def find_task(name: str) -> Task:
    """Find a task by name.

    Raises:
        RecipeError: unknown task; the message suggests the nearest name.
    """
    if name not in TASKS:
        raise RecipeError(unknown("task", name, TASKS, see="audio_lm/tasks/"))
    return TASKS[name]
