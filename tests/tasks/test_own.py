import pickle

import pytest

from audio_lm.common.errors import DataError, RecipeError
from audio_lm.prompts.conversation import join_text
from audio_lm.prompts.render import PROMPTS, num_choices, render
from audio_lm.prompts.tags import check_tags
from audio_lm.tasks.config import OwnTaskConfig
from audio_lm.tasks.own import check_answer, check_new_name, check_questions, own_task, with_own_tasks
from audio_lm.tasks.registry import TASKS, find_task

LOUD = OwnTaskConfig(label="dynamic", prompt=["How loud is it?"])


@pytest.mark.parametrize("prompt", PROMPTS)
def test_an_own_task_has_a_question_and_an_answer_in_every_prompt_format(prompt):
    text = join_text(
        render(own_task("loud", LOUD), {"dynamic": "forte", "language": "unknown"}, prompt=prompt)
    )
    assert "How loud is it?" in text
    assert "forte" in text.partition("How loud is it?")[2]


def test_the_default_tags_are_those_of_questions_and_answers():
    task = own_task("loud", LOUD)
    labels = {"question": "How loud is it?", "answer": "forte", "dynamic": "forte", "language": "en"}
    rendered = [join_text(render(task, labels, prompt="tags")) for task in (task, TASKS["aqa"])]
    assert rendered[0] == rendered[1]
    check_tags(task)
    check_tags(own_task("loud", OwnTaskConfig("dynamic", ["Is it < 60 {unit}?"])))


def test_one_tag_and_no_word_of_the_question_is_learned():
    pieces = render(own_task("loud", LOUD), {"dynamic": "p", "language": "en"}, prompt="tags")
    learned = "".join(piece.text for piece in pieces[3:] if piece.is_learned)
    assert learned == "<|en|><|question|><|answer|>p<|endoftext|>"


def test_free_questions_are_a_task_of_this_kind():
    own = own_task("ask", OwnTaskConfig("answer", ["{question}"]))
    labels = {"question": "Is it loud?", "answer": "no", "language": "en"}
    assert own.needs == ("answer", "question")
    for prompt in PROMPTS:
        ours, known = (
            join_text(render(task, labels, prompt=prompt, is_evaluation=False))
            for task in (own, TASKS["aqa"])
        )
        assert ours == known


def test_wordings_are_drawn_and_the_last_one_is_for_evaluation():
    task = own_task("loud", OwnTaskConfig("dynamic", ["A?", "B?", "C?"], prompt_zh=["音量？"]))
    labels = {"dynamic": "p", "language": "zh"}
    choices = range(num_choices(task, "natural"))
    texts = {join_text(render(task, labels, prompt="natural", choice=choice)) for choice in choices}
    assert len(texts) == 3
    assert "C?" in join_text(render(task, labels, prompt="natural", is_evaluation=True))
    assert not any("C?" in text for text in texts)


@pytest.mark.parametrize(
    ("value", "answer"),
    [("mf", "mf"), (3, "3"), (3.0, "3"), (0.5, "0.5"), (True, "true"), (["a", "b"], "a, b"), (" mf ", "mf")],
)
def test_texts_numbers_and_truth_values_are_answers(value, answer):
    assert own_task("loud", LOUD).answer({"dynamic": value}) == answer


@pytest.mark.parametrize("value", ["", " ", {"a": 1}, [1], [], float("nan"), float("inf")])
def test_other_values_are_named(value):
    with pytest.raises(DataError, match=r"label 'dynamic' is .* -- expected a (text|finite)"):
        own_task("loud", LOUD).answer({"dynamic": value})


def test_a_missing_label_of_the_answer_or_of_the_question_is_named():
    task = own_task("loud", OwnTaskConfig("dynamic", ["How loud is the {instrument}?"]))
    assert task.needs == ("dynamic", "instrument")
    with pytest.raises(DataError, match="no label 'instrument' -- task 'loud' needs dynamic, instrument"):
        task.check({"dynamic": "p"})


UNUSABLE = ["", " ", "a <|en|>", "a <audio>", "a {", "{a.b}", "{a[0]}", "{a!r}", "{}", "{turns}", "{dynamic}"]


@pytest.mark.parametrize("question", UNUSABLE)
def test_a_question_that_cannot_be_filled_is_refused(question):
    with pytest.raises(RecipeError, match=r"expected|write|remove"):
        check_questions([question], label="dynamic")


def test_a_brace_can_be_written_twice():
    check_questions(["What is {{it}}?"], label="dynamic")
    task = own_task("loud", OwnTaskConfig("dynamic", ["What is {{it}}?"]))
    for prompt in PROMPTS:
        assert "What is {it}?" in join_text(render(task, {"dynamic": "p", "language": "en"}, prompt=prompt))


def test_a_label_in_a_question_is_written_like_an_answer():
    task = own_task("loud", OwnTaskConfig("dynamic", ["Take {take}?"]))
    text = join_text(render(task, {"dynamic": "p", "take": 3.0, "language": "en"}, prompt="natural"))
    assert "Take 3?" in text
    with pytest.raises(DataError, match="label 'take' is"):
        render(task, {"dynamic": "p", "take": {"a": 1}, "language": "en"}, prompt="natural")


@pytest.mark.parametrize("label", ["turns", "units", "conversation", "honesty", "duration", "audio_2", "a.b"])
def test_a_label_that_is_no_answer_is_refused(label):
    with pytest.raises(RecipeError, match="choose another"):
        check_answer(label)


@pytest.mark.parametrize("name", ["asr", "chat"])
def test_a_name_in_use_is_refused(name):
    with pytest.raises(RecipeError, match="exists already"):
        check_new_name(name)


def test_own_tasks_are_found_beside_those_in_code_and_can_be_sent_to_other_processes():
    tasks = with_own_tasks({"loud": LOUD})
    assert find_task("loud", tasks).metrics == ("acc",)
    assert find_task("asr", tasks) is TASKS["asr"]
    with pytest.raises(RecipeError, match="Did you mean 'loud'"):
        find_task("luod", tasks)
    copies = pickle.loads(pickle.dumps(tasks))
    assert copies["loud"].answer({"dynamic": 3}) == "3"
    assert copies["sgc"].answer({"language": "en", "gender": "male"}) == "gender: male"
