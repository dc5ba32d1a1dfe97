import pytest

from audio_lm.prompts.conversation import Text, join_text
from audio_lm.prompts.natural import (
    QWEN2_AUDIO_PREFIX,
    evaluation_prompts,
    num_choices,
    render_natural,
    training_prompts,
)
from audio_lm.tasks.dummy_labels import DUMMY_LABELS, labels_for
from audio_lm.tasks.registry import TASKS
from tests.prompts.fixtures import ALL_TASKS

EVERY_TASK = pytest.mark.parametrize("task", ALL_TASKS, ids=lambda task: task.name)


def texts_of(task, labels, *, is_evaluation, number=40):
    """Set of all questions drawn."""
    rows = [
        render_natural(task, labels, choice=index, is_evaluation=is_evaluation, with_answer=False)
        for index in range(number)
    ]
    return {join_text(pieces).rpartition("<|audio_eos|>")[2] for pieces in rows}


@EVERY_TASK
def test_training_never_draws_the_held_out_paraphrase(task):
    training, evaluation = set(training_prompts(task)), set(evaluation_prompts(task))
    assert training
    assert len(evaluation) == 1
    assert training.isdisjoint(evaluation) == (len(task.prompts) > 1)
    assert training | evaluation == {prompt.removeprefix(QWEN2_AUDIO_PREFIX) for prompt in task.prompts}


@EVERY_TASK
def test_prompts_of_the_released_model_are_always_used_in_training(task):
    released = {
        prompt.removeprefix(QWEN2_AUDIO_PREFIX)
        for prompt in task.prompts
        if prompt.startswith(QWEN2_AUDIO_PREFIX)
    }
    assert released <= set(training_prompts(task))


@EVERY_TASK
def test_only_the_answer_and_the_end_are_learned(task):
    labels = labels_for(task)
    pieces = render_natural(task, labels, choice=0, is_evaluation=False, with_answer=True)
    assert join_text(pieces, only_learned=True) == task.plain_answer(labels) + "<|endoftext|>"


def test_all_paraphrases_of_training_are_drawn():
    assert texts_of(TASKS["asr"], DUMMY_LABELS, is_evaluation=False) == {
        "Detect the language and recognize the speech: <|en|>",
        "Transcribe the speech into text.",
        "What does the person say?",
    }
    assert texts_of(TASKS["asr"], DUMMY_LABELS, is_evaluation=True) == {"Recognize the speech:"}


def test_equal_choices_give_equal_questions():
    rows = [
        render_natural(TASKS["asr"], DUMMY_LABELS, choice=7, is_evaluation=False, with_answer=True)
        for _ in range(2)
    ]
    assert rows[0] == rows[1]


def test_the_language_in_a_template_is_a_token_and_text_of_a_label_is_not():
    labels = {**DUMMY_LABELS, "question": "What is <|en|>?"}
    pieces = render_natural(TASKS["aqa"], labels, choice=0, is_evaluation=False, with_answer=False)
    assert pieces[-1] == Text("What is <|en|>?")
    pieces = render_natural(TASKS["srwt-en"], labels, choice=0, is_evaluation=False, with_answer=False)
    assert pieces[-1] == Text("<|en|>", is_markup=True)


def test_chinese_clips_draw_chinese_questions_but_not_in_evaluation():
    labels = {**DUMMY_LABELS, "language": "zh"}
    assert "请把这段语音翻译成德语。" in texts_of(TASKS["s2tt"], labels, is_evaluation=False)
    assert texts_of(TASKS["s2tt"], labels, is_evaluation=True) == {"Listen and give the German translation:"}


def test_the_prompt_of_the_released_base_model():
    text = join_text(
        render_natural(TASKS["vsc"], DUMMY_LABELS, choice=0, is_evaluation=False, with_answer=True)
    )
    assert text == (
        "<|audio_bos|><|AUDIO|><|audio_eos|>Classify the human vocal sound to VocalSound in English:"
        "cough<|endoftext|>"
    )


@EVERY_TASK
def test_every_paraphrase_is_equally_likely_in_any_language(task):
    for language in ("en", "zh"):
        labels = {**labels_for(task), "language": language}
        rows = [
            join_text(render_natural(task, labels, choice=choice, is_evaluation=False, with_answer=False))
            for choice in range(num_choices(task))
        ]
        counts = {row: rows.count(row) for row in rows}
        assert len(set(counts.values())) == 1


@EVERY_TASK
def test_languages_without_a_tag_have_questions_without_a_tag(task):
    labels = {**labels_for(task), "target_language": "ru"} | ({} if task.language else {"language": "pt"})
    questions = texts_of(task, labels, is_evaluation=False) | texts_of(task, labels, is_evaluation=True)
    assert questions
    assert not any("<|pt|>" in text or "<|ru|>" in text for text in questions)
    task.plain_answer(labels)


def test_the_other_paraphrases_of_a_language_without_a_tag_are_all_drawn():
    labels = {**DUMMY_LABELS, "language": "pt"}
    assert texts_of(TASKS["asr"], labels, is_evaluation=False) == {
        "Transcribe the speech into text.",
        "What does the person say?",
    }
