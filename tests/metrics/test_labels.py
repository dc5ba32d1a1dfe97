import pytest

from audio_lm.metrics.labels import (
    accuracy,
    accuracy_binary,
    accuracy_loose,
    balanced_error,
    decade_error,
    entity_f1,
    item_f1,
    macro_f1,
    mean_average_precision,
)


def of(metric, answers, references):
    return metric(answers, references, ["en"] * len(answers))


def test_accuracy_is_equality_after_strip():
    assert of(accuracy, [" yes ", "Yes", "no"], ["yes", "yes", "no"]) == pytest.approx(2 / 3)
    assert of(accuracy_loose, [" yes ", "Yes.", "no"], ["yes", "yes", "no"]) == 1.0


def test_binary_accuracy_looks_only_at_yes_and_no():
    assert of(accuracy_binary, ["yes", "two", "no"], ["yes", "three", "yes"]) == 0.5


def test_every_class_counts_alike_in_macro_f1():
    # a: precision 2/3, recall 1 -> 0.8; b: never answered -> 0.
    assert of(macro_f1, ["a", "a", "a"], ["a", "a", "b"]) == pytest.approx(0.4)


def test_misses_and_false_alarms_are_averaged():
    answers, references = ["yes", "no", "yes", "no"], ["yes", "yes", "no", "no"]
    assert of(balanced_error, answers, references) == 0.5


def test_ages_are_apart_by_decades():
    assert of(decade_error, ["age: twenties", "age: forties", "old"], ["age: twenties"] * 3) == pytest.approx(
        100 / 3
    )


def test_average_precision_of_decisions():
    # label a: one of two found, nothing wrong: 0.5 * 1 + 0.5 * 2/3; label b: found.
    references, answers = ["a", "a", "b"], ["a", "c", "b"]
    assert of(mean_average_precision, answers, references) == pytest.approx((0.5 + 0.5 * 2 / 3 + 1.0) / 2)


def test_items_and_entities_are_counted_over_everything():
    assert of(item_f1, ["<|entities|>time: nine, day: monday"], ["<|entities|>time: nine"]) == pytest.approx(
        2 / 3
    )
    marked = (
        "<|startofentityvalue|>Ada<|endofentityvalue|><|startofentitytype|>person<|endofentitytype|> came"
    )
    assert of(entity_f1, [marked], ["[Ada: person] came"]) == 1.0
    assert of(entity_f1, ["nobody"], [marked]) == 0.0


@pytest.mark.parametrize("metric", [accuracy, accuracy_loose, macro_f1, item_f1, mean_average_precision])
def test_identity_is_perfect_and_empty_answers_are_wrong(metric):
    references = ["a", "b", "c: d"]
    assert of(metric, references, references) == 1.0
    assert of(metric, ["", "", ""], references) < 0.5
