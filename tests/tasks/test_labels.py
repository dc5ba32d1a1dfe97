import pytest

from audio_lm.common.languages import LANGUAGE_LABELS
from audio_lm.data.manifest.labels import check_labels
from audio_lm.tasks.labels import (
    CLIP_FIELD,
    FIELDS,
    LABELS,
    RESERVED,
    dummy_values,
    is_own_name,
    names_of_kind,
)


@pytest.mark.parametrize("name", LABELS)
def test_every_dummy_value_is_valid_in_a_manifest(name):
    value = LABELS[name].dummy
    check_labels({name: value} if name in FIELDS else {"custom": {name: value}})


def test_every_label_has_a_kind_and_rows_have_types():
    assert set(FIELDS) | set(LANGUAGE_LABELS) <= LABELS.keys()
    assert {name for name, label in LABELS.items() if label.row} == names_of_kind("rows")


@pytest.mark.parametrize("name", ["dynamic", "room size", "T60", "largo-2", "音量", "a" * 64])
def test_any_other_word_can_be_a_label_of_ones_own(name):
    assert is_own_name(name)
    assert dummy_values([name]) == {name: name}


@pytest.mark.parametrize(
    "name",
    [
        *sorted(RESERVED),
        *LABELS,
        "audio",
        "audio_2",
        "rejected_audio_1",
        "a.b",
        " a",
        "a ",
        "{a}",
        "",
        "a" * 65,
    ],
)
def test_known_and_reserved_names_are_not(name):
    assert not is_own_name(name)


def test_clips_have_names_that_no_label_has():
    assert not any(map(CLIP_FIELD.fullmatch, LABELS))
