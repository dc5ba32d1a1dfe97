"""Examples as text: prompt and answer, the learned parts, and the number of tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

from lhotse.cut import Cut

from audio_lm.common.audio_units import WHISPER, AudioTokenCount, Seconds
from audio_lm.data.examples import ExampleMaker
from audio_lm.prompts.conversation import Clip, Piece, Text
from audio_lm.prompts.render import render, render_chat
from audio_lm.tasks.dummy_labels import labels_for
from audio_lm.tasks.labels import CONVERSATION
from audio_lm.tasks.registry import CHAT
from audio_lm.tasks.task import Task


@dataclass(frozen=True)
class RenderedExample:
    """The text that the model reads of one cut."""

    stage: str
    task: str
    cut_id: str
    """Empty for an imagined clip."""

    pieces: list[tuple[str, bool]]
    """Text, and true if it is learned; a clip is written ``[clip 1: 1.24 s]``."""

    num_tokens: int
    num_audio_tokens: int
    is_imagined: bool = False
    """True without a real clip: labels are made up, and ``num_tokens`` is the expected mean of the source."""


def render_example(stage: str, cut: Cut, task: str, maker: ExampleMaker, *, choice: int) -> RenderedExample:
    """Render a cut under a task."""
    example = maker.example(cut, task, choice=choice)
    num_clips = len(example.num_samples)
    return RenderedExample(
        stage=stage,
        task=example.task,
        cut_id=cut.id,
        pieces=_display_pieces(
            pieces_of(cut, task, choice, maker), num_clips=num_clips, seconds=cut.duration
        ),
        num_tokens=len(example),
        num_audio_tokens=len(example.audio_index),
    )


def pieces_of(cut: Cut, task: str, choice: int, maker: ExampleMaker) -> list[Piece]:
    """Pieces of an example; of a pair, those of both conversations, one after the other."""
    if not maker.rule.is_paired:
        return maker.pieces(cut, task, choice)
    chosen, rejected = maker.pair(cut, task, choice)
    return [*chosen, Text("\n-- rejected:\n"), *rejected]


def render_imagined(
    stage: str,
    task: Task | None,
    prompt: str,
    *,
    seconds: Seconds,
    num_tokens: int,
    token_count: AudioTokenCount = WHISPER,
) -> RenderedExample:
    """Render a task with made-up labels, for a source without data.

    Args:
        task: None for a conversation.
        seconds: expected length of a clip.
        num_tokens: expected tokens of a conversation.
        token_count: audio tokens of the model.
    """
    if task is None:
        pieces, num_clips = render_chat(CONVERSATION), 1
    else:
        pieces, num_clips = render(task, labels_for(task), prompt=prompt), task.num_clips
    return RenderedExample(
        stage=stage,
        task=task.name if task else CHAT,
        cut_id="",
        pieces=_display_pieces(pieces, num_clips=num_clips if seconds else 0, seconds=seconds),
        num_tokens=num_tokens,
        num_audio_tokens=round(seconds * token_count.tokens_per_second),
        is_imagined=True,
    )


def _display_pieces(pieces: Sequence[Piece], *, num_clips: int, seconds: Seconds) -> list[tuple[str, bool]]:
    """Pieces with a placeholder for each clip."""
    displayed = []
    for piece in pieces:
        if not isinstance(piece, Clip):
            displayed.append((piece.text, piece.is_learned))
        elif piece.number <= num_clips:
            displayed.append((f"[clip {piece.number}: {seconds:.2f} s]", False))
        else:
            displayed.append(("[words in audio places]", False))
    return displayed
