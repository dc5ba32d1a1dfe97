import pytest

from audio_lm.tasks.sound import SOUND_TASKS

PAPER = [task for task in SOUND_TASKS if task.row is not None]


def test_the_group_has_all_rows_of_the_paper():
    assert len(PAPER) == 5


@pytest.mark.parametrize("task", PAPER, ids=lambda task: task.name)
def test_a_row_of_the_paper_is_complete(task):
    assert task.title
    assert task.group == "sound"
    assert task.hours > 0
    assert task.prompts_zh
    assert (task.tag_status == "extension") == (bool(task.extension_tokens) and task.name != "lid")


@pytest.mark.parametrize("task", SOUND_TASKS, ids=lambda task: task.name)
def test_a_row_has_questions_labels_and_metrics(task):
    assert task.metrics
    assert task.needs
    assert task.prompts
    assert all(token in task.tags for token in task.extension_tokens) or task.name == "lid"
