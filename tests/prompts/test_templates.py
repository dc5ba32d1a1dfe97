import pytest

from audio_lm.common.errors import DataError
from audio_lm.prompts.templates import fill
from audio_lm.tasks.task import Markup


def test_tags_of_a_template_are_markup_and_labels_are_text():
    parts = fill("<|{language}|><|question|>{question}", {"language": "de", "question": "<|endoftext|> {x}?"})
    assert parts == ["<|de|>", "<|question|>", "<|endoftext|> {x}?"]
    assert [isinstance(part, Markup) for part in parts] == [True, True, False]


def test_language_names_are_in_the_language_of_the_question():
    labels = {"target_language": "de"}
    assert fill("into {target_language_name}", labels) == ["into German"]
    assert fill("{target_language_name}", labels, is_chinese=True) == ["德语"]


def test_a_field_without_a_label_is_named():
    with pytest.raises(DataError, match="no label 'dialect'"):
        fill("the {dialect} speech", {"dialect": None})


def test_a_language_without_a_tag_is_refused():
    with pytest.raises(DataError, match="'pt' has no tag"):
        fill("<|{language}|>", {"language": "pt"})


def test_a_language_without_a_tag_has_a_name():
    labels = {"language": "pt", "target_language": "ky"}
    assert fill("into {target_language_name}", labels) == ["into Kyrgyz"]
    assert fill("{target_language_name}", labels, is_chinese=True) == ["Kyrgyz"]
    with pytest.raises(DataError, match="'ky' has no tag"):
        fill("<|{target_language}|>", labels)
    with pytest.raises(DataError, match="'xx' is not known"):
        fill("into {target_language_name}", {"target_language": "xx"})
