import pytest

from audio_lm.common.errors import DataError
from audio_lm.common.languages import NAME_OF_LANGUAGE, name_of_language
from audio_lm.tasks.dummy_labels import labels_for
from audio_lm.tasks.registry import TASKS

EVERY_TASK = pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)


@EVERY_TASK
def test_a_missing_label_is_named(task):
    for key in task.needs:
        labels = {**labels_for(task), key: None}
        with pytest.raises(DataError, match=f"no label '{key}'"):
            task.answer(labels)
        with pytest.raises(DataError, match=f"no label '{key}'"):
            task.plain_answer(labels)


@EVERY_TASK
def test_the_answer_depends_on_required_labels_only(task):
    labels = labels_for(task)
    needed = {key: labels[key] for key in task.needs}
    assert task.answer(needed) == task.answer(labels)


@EVERY_TASK
def test_a_plain_answer_has_no_special_tokens(task):
    labels = labels_for(task)
    assert "<|" not in task.plain_answer(labels)
    if "<|" not in task.answer(labels):
        assert task.plain_answer(labels) == task.answer(labels)


def test_english_time_stamps_of_a_chinese_clip_are_refused():
    with pytest.raises(DataError, match="'language' is 'zh'"):
        TASKS["srwt-en"].answer({**labels_for(TASKS["srwt-zh"])})


def test_a_language_without_a_tag_is_refused():
    assert [name_of_language(code) for code in NAME_OF_LANGUAGE][2] == "German"
    with pytest.raises(DataError, match="'pt' has no tag"):
        TASKS["lid"].answer({"language": "pt"})
