import pytest

from audio_lm.common.errors import DataError, UserError
from audio_lm.corpora.imports.common import ImportOptions, Row
from audio_lm.corpora.imports.labels import COLUMN_LABELS, choose_columns, parse_label, row_labels
from audio_lm.tasks.labels import LABELS


def test_columns_named_like_labels_are_labels_and_columns_of_the_options_win():
    columns = ["text", "sentence", "locale", "caption", "other"]
    assert choose_columns(columns, ImportOptions()) == {
        "text": "text",
        "locale": "language",
        "caption": "caption",
    }
    options = ImportOptions(columns={"other": "text", "caption": ""})
    assert choose_columns(columns, options) == {"other": "text", "locale": "language"}


def test_every_label_except_those_of_conversations_can_be_a_column():
    assert {"conversation", "rejected", "places", "honesty", "units"} == LABELS.keys() - COLUMN_LABELS


@pytest.mark.parametrize(
    ("columns", "chosen", "kind", "reason"),
    [
        (["sentence", "transcript"], {}, DataError, "have the same label"),
        (["a", "b"], {"a": "text", "b": "text"}, DataError, "have the same label"),
        (["a"], {"b": "text"}, DataError, r"no column \['b'\]"),
        (["a"], {"a": "conversation"}, UserError, "'conversation', which is reserved or no name"),
        (["a"], {"a": "duration"}, UserError, "reserved or no name"),
        (["a"], {"a": "audio_2"}, UserError, "reserved or no name"),
        (["a"], {"a": "room.size"}, UserError, "reserved or no name"),
    ],
)
def test_impossible_columns_are_refused(columns, chosen, kind, reason):
    with pytest.raises(kind, match=reason):
        choose_columns(columns, ImportOptions(columns=chosen))


@pytest.mark.parametrize(
    ("label", "value", "expected"),
    [
        ("language", "en_US", "en"),
        ("language", "English", "en"),
        ("target_language", "pt-BR", "pt"),
        ("language", "yue", "yue"),
        ("gender", "F", "female"),
        ("speaker", 103, "103"),
        ("pitch", "60", 60),
        ("velocity", 100, 100),
        ("texts", '["a", "b"]', ["a", "b"]),
        ("slots", [["a", "b"]], [["a", "b"]]),
        ("text", " one ", " one "),
    ],
)
def test_values_are_converted_to_the_type_of_their_label(label, value, expected):
    assert parse_label(label, value, "column") == expected


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("text", ["a"]),
        ("text", True),
        ("pitch", "60.5"),
        ("pitch", -1),
        ("pitch", True),
        ("events", "{}"),
        ("gender", "?"),
    ],
)
def test_other_values_are_refused(label, value):
    with pytest.raises(DataError, match="'column' is"):
        parse_label(label, value, "column")


def test_an_unknown_language_is_refused():
    with pytest.raises(DataError, match="language 'xx' is unknown"):
        parse_label("language", "xx", "lang")


def test_a_row_needs_a_label_to_train_on():
    columns = {"text": "text", "lang": "language"}
    given = ImportOptions(language="en")
    assert row_labels(Row({"text": "one", "lang": None}), columns, given) == {"language": "en", "text": "one"}
    assert row_labels(Row({"text": "un", "lang": "fr"}), columns, given)["language"] == "fr"
    with pytest.raises(DataError, match="has no value"):
        row_labels(Row({"text": "", "lang": "fr"}), columns, given)
