import pytest

from audio_lm.tasks.speech import SPEECH_TASKS


def test_the_group_has_all_its_rows():
    assert len(SPEECH_TASKS) == 18


@pytest.mark.parametrize("task", SPEECH_TASKS, ids=lambda task: task.name)
def test_a_row_is_complete(task):
    assert task.group == "speech"
    assert task.hours > 0
    assert task.metrics
    assert task.needs
    assert task.prompts
    assert task.prompts_zh
    assert all(token in task.tags for token in task.extension_tokens) or task.name == "lid"
    assert (task.tag_status == "extension") == (bool(task.extension_tokens) and task.name != "lid")
