import pytest

from audio_lm.common.errors import DataError, RecipeError
from audio_lm.prompts.conversation import Clip, join_text
from audio_lm.prompts.encode import encode
from audio_lm.prompts.render import PROMPTS, reference, render, render_chat
from audio_lm.tasks.dummy_labels import DUMMY_LABELS, labels_for
from audio_lm.tasks.registry import TASKS
from tests.prompts.fixtures import ALL_TASKS, small_vocabulary

EVERY_TASK = pytest.mark.parametrize("task", ALL_TASKS, ids=lambda task: task.name)
EVERY_PROMPT = pytest.mark.parametrize("prompt", PROMPTS)


@EVERY_PROMPT
@EVERY_TASK
def test_every_task_has_every_prompt_format(task, prompt):
    labels = labels_for(task)
    pieces = render(task, labels, prompt=prompt)
    assert reference(task, labels, prompt) in join_text(pieces, only_learned=True)
    assert [piece.number for piece in pieces if isinstance(piece, Clip)] == list(range(1, task.num_clips + 1))


@EVERY_PROMPT
@EVERY_TASK
def test_a_question_is_a_prefix_of_question_and_answer(task, prompt):
    labels, vocabulary = labels_for(task), small_vocabulary()
    question, whole = (
        encode(
            render(task, labels, prompt=prompt, with_answer=with_answer),
            vocabulary,
            num_tokens_of_clip=[5, 7],
        )
        for with_answer in (False, True)
    )
    num_tokens = len(question.token_ids)
    assert whole.token_ids[:num_tokens] == question.token_ids
    assert all(whole.is_learned[num_tokens:])
    answer = vocabulary.text(whole.token_ids[num_tokens:-1])
    assert answer == reference(task, labels, prompt)
    assert whole.token_ids[-1] == (vocabulary.turn_end_id if prompt == "chatml" else vocabulary.end_id)


@EVERY_PROMPT
def test_a_clip_without_the_labels_of_a_task_is_refused(prompt):
    with pytest.raises(DataError, match="no label 'text'"):
        render(TASKS["asr"], {"language": "en"}, prompt=prompt)


def test_a_conversation_is_rendered_with_and_without_its_last_answer():
    conversation = [
        {"role": "user", "content": [{"audio": 1}, {"text": "Hi"}]},
        {"role": "assistant", "content": [{"text": "Hello"}]},
    ]
    whole, question = (join_text(render_chat(conversation, with_answer=flag)) for flag in (True, False))
    assert whole == question + "Hello<|im_end|>"


def test_the_error_for_an_unknown_prompt_format_suggests_the_nearest():
    with pytest.raises(RecipeError, match="Did you mean 'tags'"):
        render(TASKS["asr"], DUMMY_LABELS, prompt="tag")
