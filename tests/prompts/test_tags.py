import re
from dataclasses import replace

import pytest

from audio_lm.common.errors import RecipeError
from audio_lm.prompts.conversation import Text, join_text
from audio_lm.prompts.tags import check_tags, render_tags
from audio_lm.tasks.dummy_labels import DUMMY_LABELS, labels_for
from audio_lm.tasks.registry import TASKS
from tests.prompts.fixtures import ALL_TASKS

EVERY_TASK = pytest.mark.parametrize("task", ALL_TASKS, ids=lambda task: task.name)


def test_a_prompt_is_clip_tags_answer_and_end_token():
    pieces = render_tags(TASKS["asr"], DUMMY_LABELS, with_answer=True)
    assert join_text(pieces) == (
        "<audio><|AUDIO|></audio><|startoftranscript|><|en|><|transcribe|><|en|><|notimestamps|><|wo_itn|>"
        "Ada met Bob in Paris<|endoftext|>"
    )


@EVERY_TASK
def test_all_after_the_start_tag_except_the_question_is_learned(task):
    pieces = render_tags(task, labels_for(task), with_answer=True)
    is_start = [isinstance(piece, Text) and piece.text.startswith("<|startof") for piece in pieces].index(
        True
    )
    assert not any(isinstance(piece, Text) and piece.is_learned for piece in pieces[: is_start + 1])
    unlearned = [piece.text for piece in pieces[is_start + 1 :] if not piece.is_learned]
    question = re.search(r"<\|question\|>(.*)<\|answer\|>", task.tags)
    assert unlearned == ([question[1].format(**DUMMY_LABELS)] if question else [])


@EVERY_TASK
def test_without_answer_the_prompt_ends_where_generation_starts(task):
    labels = labels_for(task)
    question_labels = {
        key: value for key, value in labels.items() if key in ("language", "target_language", "question")
    }
    question = join_text(render_tags(task, question_labels, with_answer=False))
    assert question + task.answer(labels) + "<|endoftext|>" == join_text(
        render_tags(task, labels, with_answer=True)
    )


def test_each_of_two_clips_has_its_own_markers():
    text = join_text(render_tags(TASKS["sv"], DUMMY_LABELS, with_answer=True))
    assert text.startswith("<audio><|AUDIO|></audio><audio><|AUDIO|></audio><|startofanalysis|>")


@EVERY_TASK
def test_the_tags_of_every_task_are_in_order(task):
    check_tags(task)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ("<|startoftranscription|><|en|>", "startoftranscription"),
        ("<|startoftranscript|><|transcribe|><|en|><|en|><|notimestamps|>", "expected the order"),
        (
            "<|startoftranscript|><|en|><|transcribe|><|en|><|notimestamps|><|wo_itn|><|itn|>",
            "expected the order",
        ),
        ("<|en|>", "expected the order"),
    ],
)
def test_a_wrong_tag_or_order_is_refused(tags, message):
    with pytest.raises(RecipeError, match=message):
        check_tags(replace(TASKS["asr"], tags=tags))
