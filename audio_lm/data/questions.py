"""Group the cuts that put the same question about the same clip, as one question with several references.

Captioning corpora have several captions per clip (Clotho and the test set of AudioCaps have five). Each is a cut of
its own, so that training uses all of them. An evaluation prompts once and compares with all of them.
"""

from collections.abc import Hashable, Iterable, Mapping

from lhotse import Recording
from lhotse.cut import Cut

from audio_lm.common.errors import DataError
from audio_lm.data.examples import Prompt
from audio_lm.data.manifest.cuts import recordings_of
from audio_lm.data.manifest.labels import labels_of
from audio_lm.prompts.conversation import join_text
from audio_lm.prompts.render import render, render_chat
from audio_lm.tasks.registry import CHAT, TASKS, find_task
from audio_lm.tasks.task import Task


def group_by_question(
    cuts: Iterable[Cut], task: str, prompt: Prompt, tasks: Mapping[str, Task] = TASKS
) -> list[list[Cut]]:
    """Group cuts with the same audio and the same question, in the order of the first cut of each group.

    Args:
        tasks: name -> task, those of a recipe's own included.

    Raises:
        DataError: a cut lacks a label its task needs; names the cut.
    """
    groups: dict[Hashable, list[Cut]] = {}
    for cut in cuts:
        groups.setdefault((_audio_key(cut), _question(cut, task, prompt, tasks)), []).append(cut)
    return list(groups.values())


def _audio_key(cut: Cut) -> Hashable:
    """Key that is equal for cuts with the same audio; unique for a text-only cut."""
    if not cut.has_recording:
        return cut.id
    recordings = [cut.recording, *(cut.custom[name] for name in recordings_of(cut))]
    return cut.start, cut.duration, str(cut.channel), *map(_recording_key, recordings)


def _recording_key(recording: Recording) -> Hashable:
    """Files of a recording; its id and length if every cut has its own copy, in a tar or in memory."""
    files = tuple(str(source.source) for source in recording.sources if source.type == "file")
    return files or (recording.id, recording.num_samples, recording.sampling_rate)


def _question(cut: Cut, task: str, prompt: Prompt, tasks: Mapping[str, Task]) -> str:
    labels = labels_of(cut)
    try:
        if task == CHAT:
            return join_text(render_chat(labels["conversation"], with_answer=False))
        return join_text(
            render(find_task(task, tasks), labels, prompt=prompt, is_evaluation=True, with_answer=False)
        )
    except (DataError, KeyError) as error:
        raise DataError(f"cut {cut.id!r}: {error}") from error
