"""All tasks by name."""

from audio_lm.common.errors import RecipeError, unknown
from audio_lm.tasks.music import MUSIC_TASKS
from audio_lm.tasks.sound import SOUND_TASKS
from audio_lm.tasks.speech import SPEECH_TASKS
from audio_lm.tasks.task import Task

CHAT = "chat"
"""What mixtures call conversations: each brings its own question, so it is no task of the table."""

TASKS: dict[str, Task] = {task.name: task for task in (*SPEECH_TASKS, *SOUND_TASKS, *MUSIC_TASKS)}


def find_task(name: str) -> Task:
    """The task called ``name``.

    Raises:
        RecipeError: there is none; the message offers the nearest.
    """
    if name not in TASKS:
        raise RecipeError(unknown("task", name, TASKS, see="audio_lm/tasks/"))
    return TASKS[name]
