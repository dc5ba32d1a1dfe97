from itertools import count

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import Qwen2AudioProcessor

from audio_lm.common.errors import DataError
from audio_lm.prompts.chatml import render_chatml, render_turns, turns_of
from audio_lm.prompts.conversation import Clip, Turn, join_text
from audio_lm.tasks.dummy_labels import labels_for
from tests.prompts.fixtures import ALL_TASKS

EVERY_TASK = pytest.mark.parametrize("task", ALL_TASKS, ids=lambda task: task.name)
TEMPLATE = jinja2.Template(Qwen2AudioProcessor.default_chat_template.fget(None), keep_trailing_newline=True)


def text_content(*texts):
    return [{"text": text} for text in texts]


@st.composite
def conversations(draw):
    """User and assistant turns: texts and clips in any order, clips numbered in this order."""
    numbers, rows = count(1), []
    for _ in range(draw(st.integers(1, 4))):
        parts = draw(st.lists(st.none() | st.text(), max_size=5))
        content = [{"audio": next(numbers)} if part is None else {"text": part} for part in parts]
        rows.append({"role": "user", "content": content})
        rows.append({"role": "assistant", "content": text_content(draw(st.text()))})
    system = {"role": "system", "content": text_content(draw(st.text()))}
    return [system, *rows] if draw(st.booleans()) else rows


@given(conversations(), st.booleans())
def test_the_text_equals_that_of_the_published_template(conversation, with_answer):
    messages = conversation if with_answer else conversation[:-1]
    theirs = TEMPLATE.render(messages=messages, add_generation_prompt=not with_answer)
    ours = join_text(render_turns(turns_of(conversation), with_answer=with_answer))
    assert ours == (theirs.removesuffix("\n") if with_answer else theirs)


@given(conversations())
def test_only_assistant_turns_are_learned(conversation):
    pieces = render_turns(turns_of(conversation), with_answer=True)
    answers = [row["content"][0]["text"] for row in conversation if row["role"] == "assistant"]
    assert join_text(pieces, only_learned=True) == "".join(f"{answer}<|im_end|>" for answer in answers)


def test_the_loss_leaves_out_turns_marked_so():
    answers = [("first", {"learn": False}), ("second", {}), ("third", {"learn": True})]
    conversation = []
    for text, flag in answers:
        conversation.append({"role": "user", "content": text_content("?")})
        conversation.append({"role": "assistant", "content": text_content(text), **flag})
    pieces = render_turns(turns_of(conversation), with_answer=True)
    assert join_text(pieces, only_learned=True) == "second<|im_end|>third<|im_end|>"
    without_flags = [{key: row[key] for key in ("role", "content")} for row in conversation]
    assert join_text(pieces) == join_text(render_turns(turns_of(without_flags), with_answer=True))


@given(conversations())
def test_clips_are_numbered_in_the_order_of_the_turns(conversation):
    numbers = [
        piece.number
        for piece in render_turns(turns_of(conversation), with_answer=True)
        if isinstance(piece, Clip)
    ]
    assert numbers == list(range(1, len(numbers) + 1))


def test_an_open_conversation_may_end_with_the_user():
    turns = [Turn("user", (1, "What is this?"))]
    assert join_text(render_turns(turns, with_answer=False)) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\nAudio 1: <|audio_bos|><|AUDIO|><|audio_eos|>\nWhat is this?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_clips_stay_between_the_texts_of_their_turn():
    turns = [Turn("user", ("A: ", 1, "B: ", 2, "Which?")), Turn("assistant", ("B",))]
    assert join_text(render_turns(turns, with_answer=True)).endswith(
        "<|im_start|>user\nA: Audio 1: <|audio_bos|><|AUDIO|><|audio_eos|>\n"
        "B: Audio 2: <|audio_bos|><|AUDIO|><|audio_eos|>\nWhich?<|im_end|>\n<|im_start|>assistant\nB<|im_end|>"
    )


@EVERY_TASK
def test_a_task_renders_one_question_and_one_answer(task):
    labels = labels_for(task)
    pieces = render_chatml(task, labels, choice=0, is_evaluation=True, with_answer=True)
    assert join_text(pieces, only_learned=True) == f"{task.plain_answer(labels)}<|im_end|>"
    assert sum(isinstance(piece, Clip) for piece in pieces) == task.num_clips


@pytest.mark.parametrize(
    "roles", [[], ["system"], ["assistant"], ["user", "user"], ["user", "assistant", "system"]]
)
def test_roles_that_do_not_alternate_are_refused(roles):
    with pytest.raises(DataError, match="alternating user and assistant turns"):
        turns_of([{"role": role, "content": text_content("x")} for role in roles])


@pytest.mark.parametrize("numbers", [[2], [1, 1], [2, 1]])
def test_clips_out_of_order_are_refused(numbers):
    with pytest.raises(DataError, match="renumber"):
        turns_of([{"role": "user", "content": [{"audio": number} for number in numbers]}])
