"""Figure of packed rows: conversations one after another, their audio and text, and the tokens in the loss.

Shapes: T positions of text and audio, B documents.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from audio_lm.common.packed_batch import PackedBatch
from audio_lm.tracking.report.figures import COLOURS, DARK, GREY, LABEL, TICK, TITLE, new_figure

AUDIO_SHADE, TEXT_SHADE = 0.85, 0.3  # opacity of a task's colour
WIDTH = 13.0  # inches


def packs_figure(packs: Sequence[PackedBatch], *, pack_tokens: int) -> Figure:
    """Plot one row of tokens per pack.

    A conversation has the colour of its task, strong where it is audio; the black band below marks tokens in the loss. A
    pair is two documents of one colour.

    Args:
        pack_tokens: token budget of a pack.
    """
    tasks = list(dict.fromkeys(task for pack in packs for task in pack.task_names))
    figure = new_figure(width=WIDTH, height=1.3 + 0.55 * max(1, len(packs)))
    axes = figure.subplots()
    for row, pack in enumerate(packs):
        _draw_pack(axes, row, pack, tasks, pack_tokens)
    tokens = sum(pack.token_ids.numel() for pack in packs)
    learned = sum(pack.num_learned for pack in packs)
    audio = sum(pack.audio_index.numel() for pack in packs)
    filled = 100 * tokens / max(1, pack_tokens * len(packs))
    shares = f"{100 * audio / max(1, tokens):.0f} % are audio and {100 * learned / max(1, tokens):.0f} % are in the loss"
    title = f"{len(packs)} packs of {pack_tokens:,} tokens, {filled:.1f} % filled; of the tokens {shares}"
    axes.set_title(title, fontsize=TITLE, loc="left")
    axes.set_xlim(0, pack_tokens)
    axes.set_ylim(len(packs) - 0.4, -0.6)
    axes.set_yticks(range(len(packs)), [f"pack {row + 1}" for row in range(len(packs))], fontsize=TICK)
    axes.set_xlabel("position, tokens", fontsize=LABEL)
    axes.tick_params(labelsize=TICK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    handles = [Patch(color=_colour(tasks, task), alpha=AUDIO_SHADE, label=task) for task in tasks]
    handles += [
        Patch(facecolor=GREY, label="strong: audio"),
        Patch(facecolor=GREY, alpha=TEXT_SHADE, label="light: text"),
        Patch(color=DARK, label="in the loss"),
        Patch(facecolor="white", edgecolor=GREY, hatch="////", label="empty"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=7, fontsize=TICK, frameon=False)
    return figure


def runs_of(positions: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First position and length of every run of adjacent positions, which ascend.

    >>> list(runs_of([2, 3, 4, 9]))
    [(2, 3), (9, 1)]
    """
    if len(positions):
        values = np.asarray(positions)
        starts = np.flatnonzero(np.diff(values, prepend=values[0] - 2) != 1)
        for first, end in zip(starts.tolist(), [*starts[1:].tolist(), len(values)], strict=True):
            yield int(values[first]), end - first


def task_of_documents(pack: PackedBatch) -> list[str]:
    """Task of each document of a pack; both documents of a pair have that of the pair."""
    num_documents = len(pack.cu_seq_lens) - 1
    copies = max(1, num_documents // max(1, len(pack.task_names)))
    return [task for task in pack.task_names for _ in range(copies)]


def _draw_pack(axes: Axes, row: int, pack: PackedBatch, tasks: Sequence[str], pack_tokens: int) -> None:
    edges = pack.cu_seq_lens.tolist()
    audio = np.array(pack.audio_index.tolist(), dtype=int)
    for start, end, task in zip(edges, edges[1:], task_of_documents(pack), strict=False):
        colour = _colour(tasks, task)
        axes.broken_barh(
            [(start, end - start)], (row - 0.4, 0.55), color=colour, alpha=TEXT_SHADE, linewidth=0
        )
        inside = audio[(audio >= start) & (audio < end)]
        axes.broken_barh(
            list(runs_of(inside.tolist())), (row - 0.4, 0.55), color=colour, alpha=AUDIO_SHADE, linewidth=0
        )
        axes.broken_barh(
            [(start, end - start)], (row - 0.4, 0.55), facecolor="none", edgecolor="white", linewidth=1.2
        )
    # The label of a position is the token behind it.
    learned = [position + 1 for position in pack.learned_index.tolist()]
    axes.broken_barh(list(runs_of(learned)), (row + 0.18, 0.14), color=DARK, linewidth=0)
    if edges[-1] < pack_tokens:
        axes.broken_barh(
            [(edges[-1], pack_tokens - edges[-1])], (row - 0.4, 0.55), facecolor="white", edgecolor=GREY,
            hatch="////", linewidth=0.5,
        )  # fmt: skip


def _colour(tasks: Sequence[str], task: str) -> str:
    return COLOURS[tasks.index(task) % len(COLOURS)]
