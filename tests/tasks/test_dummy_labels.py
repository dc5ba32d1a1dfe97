from audio_lm.prompts.chatml import turns_of
from audio_lm.tasks.dummy_labels import DUMMY_LABELS, labels_for
from audio_lm.tasks.labels import CONVERSATION
from audio_lm.tasks.registry import TASKS


def test_the_labels_satisfy_every_task():
    for task in TASKS.values():
        assert task.missing_labels(labels_for(task)) == ()
        assert task.answer(labels_for(task)), task.name


def test_every_label_is_needed_by_a_task():
    needed = {key for task in TASKS.values() for key in task.needs}
    assert set(DUMMY_LABELS) - needed <= {"title"}


def test_the_conversation_is_valid():
    assert [turn.role for turn in turns_of(CONVERSATION)] == ["user", "assistant"]
