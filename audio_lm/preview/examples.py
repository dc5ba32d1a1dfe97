"""What the model reads of a clip, for people: the words, which of them are learned, and how many tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

from lhotse.cut import Cut

from audio_lm.common.audio_units import WHISPER, AudioTokenCount, Seconds
from audio_lm.data.examples import ExampleMaker
from audio_lm.prompts.conversation import Clip, Piece
from audio_lm.prompts.render import render, render_chat
from audio_lm.tasks.imagined import CONVERSATION, labels_for
from audio_lm.tasks.registry import CHAT, find_task


@dataclass(frozen=True)
class RenderedExample:
    """What the model reads of one cut."""

    stage: str
    task: str
    cut_id: str
    """Empty where the clip is imagined."""

    pieces: list[tuple[str, bool]]
    """Text and whether it is learned; a clip is written ``[clip 1: 1.24 s]``."""

    num_tokens: int
    num_audio_tokens: int
    is_imagined: bool = False
    """No such clip was there: labels are made up, and tokens are the mean that is expected of the source."""


def render_example(stage: str, cut: Cut, task: str, maker: ExampleMaker, *, choice: int) -> RenderedExample:
    """A cut under a task."""
    example = maker.example(cut, task, choice=choice)
    num_clips = len(example.num_samples)
    return RenderedExample(
        stage=stage,
        task=example.task,
        cut_id=cut.id,
        pieces=_shown(maker.pieces(cut, task, choice), num_clips=num_clips, seconds=cut.duration),
        num_tokens=len(example),
        num_audio_tokens=len(example.audio_index),
    )


def render_imagined(
    stage: str,
    task: str,
    prompt: str,
    *,
    seconds: Seconds,
    num_tokens: int,
    token_count: AudioTokenCount = WHISPER,
) -> RenderedExample:
    """A task as it describes itself, where no clip is there.

    Args:
        seconds: expected of a clip.
        num_tokens: expected of a conversation.
        token_count: of the model that would read it.
    """
    if task == CHAT:
        pieces, num_clips = render_chat(CONVERSATION), 1
    else:
        found = find_task(task)
        pieces, num_clips = render(found, labels_for(found), prompt=prompt), found.num_clips
    return RenderedExample(
        stage=stage,
        task=task,
        cut_id="",
        pieces=_shown(pieces, num_clips=num_clips if seconds else 0, seconds=seconds),
        num_tokens=num_tokens,
        num_audio_tokens=round(seconds * token_count.tokens_per_second),
        is_imagined=True,
    )


def _shown(pieces: Sequence[Piece], *, num_clips: int, seconds: Seconds) -> list[tuple[str, bool]]:
    """Text as it is, and what stands for each clip."""
    shown = []
    for piece in pieces:
        if not isinstance(piece, Clip):
            shown.append((piece.text, piece.is_learned))
        elif piece.number <= num_clips:
            shown.append((f"[clip {piece.number}: {seconds:.2f} s]", False))
        else:
            shown.append(("[words in audio places]", False))
    return shown
