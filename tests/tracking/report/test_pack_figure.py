import itertools
from dataclasses import replace

import torch
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.data.example import Example
from audio_lm.data.packs import pack_examples
from audio_lm.tracking.report.figures import figure_png
from audio_lm.tracking.report.pack_figure import packs_figure, runs_of, task_of_documents

FIRST = Example("a", "asr", 0, [9, 1, 1, 1, 2, 3], [False] * 4 + [True] * 2, [1, 2, 3], (1920,))
SECOND = Example("b", "sec", 1, [9, 1, 4], [False, False, True], [1], (960,))


def packed(*examples):
    waves = [
        torch.zeros(count).numpy() for each in examples for one in each.documents for count in one.num_samples
    ]
    return pack_examples(examples, waves)


@given(st.sets(st.integers(0, 60)))
def test_runs_cover_the_positions_and_no_others(positions):
    runs = list(runs_of(sorted(positions)))
    assert sorted(first + number for first, length in runs for number in range(length)) == sorted(positions)
    assert all(first + length < later for (first, length), (later, _) in itertools.pairwise(runs))


def test_audio_and_learned_tokens_are_drawn_at_their_positions():
    figure = packs_figure([packed(FIRST, SECOND)], pack_tokens=12)
    axes = figure.axes[0]
    boxes = [path.get_extents() for collection in axes.collections for path in collection.get_paths()]
    spans = {(round(box.x0), round(box.x1), box.y0 > 0) for box in boxes}
    assert {(1, 4, False), (7, 8, False)} <= spans, "audio"
    assert {(4, 6, True), (8, 9, True)} <= spans, "learned tokens, below"
    assert (9, 12, False) in spans, "empty"
    title = axes.get_title(loc="left")
    assert (
        title == "1 packs of 12 tokens, 75.0 % filled; of the tokens 44 % are audio and 33 % are in the loss"
    )
    assert figure_png(figure).startswith(b"\x89PNG")


def test_both_documents_of_a_pair_have_its_task():
    pair = Example(
        "c", "chat", 0, [9, 1, 2], [False, False, True], [1], (960,), rejected=replace(SECOND, task="chat")
    )
    assert task_of_documents(packed(pair)) == ["chat", "chat"]
    assert task_of_documents(packed(FIRST, SECOND)) == ["asr", "sec"]
