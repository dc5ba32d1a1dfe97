"""Cuts of one clip that ask the same: one question with several right answers.

Captions come several to a clip (Clotho and the tests of AudioCaps have five), and each is a cut of its own, so that
training sees every one. An evaluation asks once and compares with all of them.
"""

from collections.abc import Hashable, Iterable

from lhotse import Recording
from lhotse.cut import Cut

from audio_lm.common.errors import DataError
from audio_lm.data.examples import Prompt
from audio_lm.data.manifest.cuts import recordings_of
from audio_lm.data.manifest.labels import labels_of
from audio_lm.prompts.conversation import join_text
from audio_lm.prompts.render import render, render_chat
from audio_lm.tasks.registry import CHAT, find_task


def group_by_question(cuts: Iterable[Cut], task: str, prompt: Prompt) -> list[list[Cut]]:
    """Cuts with the same audio and the same question together, in the order of their first.

    Raises:
        DataError: a cut lacks a label its task needs; names the cut.
    """
    groups: dict[Hashable, list[Cut]] = {}
    for cut in cuts:
        groups.setdefault((_clips(cut), _question(cut, task, prompt)), []).append(cut)
    return list(groups.values())


def _clips(cut: Cut) -> Hashable:
    """What tells the audio of a cut from that of others; a cut of text only is equal to none."""
    if not cut.has_recording:
        return cut.id
    recordings = [cut.recording, *(cut.custom[name] for name in recordings_of(cut))]
    return cut.start, cut.duration, str(cut.channel), *map(_recording, recordings)


def _recording(recording: Recording) -> Hashable:
    """Its files, or, where every cut has a copy in a tar or in memory, its name and length."""
    files = tuple(str(source.source) for source in recording.sources if source.type == "file")
    return files or (recording.id, recording.num_samples, recording.sampling_rate)


def _question(cut: Cut, task: str, prompt: Prompt) -> str:
    labels = labels_of(cut)
    try:
        if task == CHAT:
            return join_text(render_chat(labels["conversation"], with_answer=False))
        return join_text(
            render(find_task(task), labels, prompt=prompt, is_evaluation=True, with_answer=False)
        )
    except (DataError, KeyError) as error:
        raise DataError(f"cut {cut.id!r}: {error}") from error
