import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    mean_absolute_error,
)

from audio_lm.common.errors import DataError
from audio_lm.common.languages import NAME_OF_LANGUAGE
from audio_lm.metrics.labels import (
    DECADES,
    NAME_OF_LANGUAGE_TAG,
    Accuracy,
    BalancedError,
    BinaryAccuracy,
    DecadeError,
    EntityF1,
    LooseAccuracy,
    MacroF1,
    MeanAveragePrecision,
    SlotF1,
    label_of,
)
from audio_lm.tasks.registry import TASKS


def score(metric, answers, references):
    return float(metric()(answers, references, ["en"] * len(answers)))


def test_accuracy_is_equality_after_strip():
    assert score(Accuracy, [" yes ", "Yes", "no"], ["yes", "yes", "no"]) == pytest.approx(2 / 3)
    assert score(LooseAccuracy, [" yes ", "Yes.", "no"], ["yes", "yes", "no"]) == 1.0


@pytest.mark.parametrize("task", ["lid", "sgc", "sap", "ic", "sid", "mgr", "mr", "er", "ks"])
def test_a_label_is_the_same_in_tags_and_in_words(task):
    labels = {
        "language": "de",
        "gender": "female",
        "age": "twenties",
        "scenario": "alarm",
        "action": "set on",
        "singer": "Ada",
        "genre": "rock",
        "title": "Song",
        "emotion": "joy",
        "keyword": "stop",
    }
    label = label_of(TASKS[task].answer(labels))
    assert label
    assert label == label_of(TASKS[task].plain_answer(labels))


def test_languages_are_distinguished_by_their_tags():
    assert {code: name.lower() for code, name in NAME_OF_LANGUAGE.items()} | {
        "unknown": "unknown"
    } == NAME_OF_LANGUAGE_TAG
    for metric in (Accuracy, LooseAccuracy, MacroF1):
        assert score(metric, ["<|zh|>", "<|zh|>"], ["<|en|>", "<|de|>"]) == 0.0
    assert score(LooseAccuracy, ["Chinese", "female"], ["<|zh|>", "gender: female"]) == 1.0


def test_binary_accuracy_ignores_other_references_than_yes_and_no():
    assert score(BinaryAccuracy, ["yes", "two", "no"], ["yes", "three", "yes"]) == 0.5


def test_every_class_has_the_same_weight_in_macro_f1():
    # a: precision 2/3, recall 1 -> 0.8; b: never predicted -> 0.
    assert score(MacroF1, ["a", "a", "a"], ["a", "a", "b"]) == pytest.approx(0.4)


def test_miss_rate_and_false_alarm_rate_are_averaged():
    answers, references = ["yes", "no", "yes", "no"], ["yes", "yes", "no", "no"]
    assert score(BalancedError, answers, references) == 0.5


def test_the_age_error_is_counted_in_decades():
    assert score(
        DecadeError, ["age: twenties", "age: forties", "old"], ["age: twenties"] * 3
    ) == pytest.approx(100 / 3)


def test_average_precision_of_decisions():
    # label a: one of two predicted, no false positive: 0.5 * 1 + 0.5 * 2/3; label b: correct.
    references, answers = ["a", "a", "b"], ["a", "c", "b"]
    assert score(MeanAveragePrecision, answers, references) == pytest.approx((0.5 + 0.5 * 2 / 3 + 1.0) / 2)


SETS = st.lists(
    st.tuples(st.sets(st.sampled_from("abc")), st.sets(st.sampled_from("abc"))), min_size=2, max_size=8
)


@given(SETS)
def test_average_precision_equals_that_of_scikit_learn(pairs):
    answers, references = zip(*pairs, strict=True)
    labels = sorted(set().union(*references))
    if labels:
        outputs, targets = (
            np.array([[label in row for label in labels] for row in rows]) for rows in (answers, references)
        )
        texts = [[", ".join(sorted(row)) for row in rows] for rows in (answers, references)]
        expected = average_precision_score(targets, outputs.astype(float), average="macro")
        assert score(MeanAveragePrecision, *texts) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("metric", "references"),
    [
        (BinaryAccuracy, ["two"]),
        (BalancedError, ["yes", "yes"]),
        (DecadeError, ["old"]),
        (MeanAveragePrecision, [""]),
    ],
)
def test_a_metric_without_usable_references_is_an_error_and_not_zero(metric, references):
    with pytest.raises(DataError, match="no reference"):
        score(metric, references, references)


def test_items_and_entities_are_counted_over_all_clips():
    assert score(
        SlotF1, ["<|entities|>time: nine, day: monday"], ["<|entities|>time: nine"]
    ) == pytest.approx(2 / 3)
    marked = (
        "<|startofentityvalue|>Ada<|endofentityvalue|><|startofentitytype|>person<|endofentitytype|> came"
    )
    assert score(EntityF1, [marked], ["[Ada: person] came"]) == 1.0
    assert score(EntityF1, ["nobody"], [marked]) == 0.0


@pytest.mark.parametrize("metric", [Accuracy, LooseAccuracy, MacroF1, SlotF1, MeanAveragePrecision])
def test_identity_is_perfect_and_empty_answers_are_wrong(metric):
    references = ["a", "b", "c: d"]
    assert score(metric, references, references) == 1.0
    assert score(metric, ["", "", ""], references) < 0.5


@pytest.mark.parametrize("seed", range(5))
def test_scores_of_labels_equal_those_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    references, answers = rng.choice(["joy", "anger", "fear"], (2, 40), p=[0.6, 0.3, 0.1]).tolist()
    answers[0] = "surprise"  # a class without a reference
    classes = sorted(set(references))
    expected = f1_score(references, answers, labels=classes, average="macro", zero_division=0)
    assert score(MacroF1, answers, references) == pytest.approx(expected)
    assert score(Accuracy, answers, references) == pytest.approx(accuracy_score(references, answers))


@pytest.mark.parametrize("seed", range(5))
def test_the_balanced_error_is_one_minus_the_balanced_accuracy_of_scikit_learn(seed):
    references, answers = np.random.default_rng(seed).choice(["yes", "no"], (2, 30), p=[0.8, 0.2]).tolist()
    assert score(BalancedError, answers, references) == pytest.approx(
        1 - balanced_accuracy_score(references, answers)
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_age_error_is_the_mean_absolute_error_of_scikit_learn_in_years(seed):
    references, answers = np.random.default_rng(seed).integers(0, len(DECADES), (2, 30))
    texts = [[f"age: {DECADES[decade]}" for decade in decades] for decades in (answers, references)]
    expected = 10 * mean_absolute_error(references, answers)
    assert score(DecadeError, *texts) == pytest.approx(expected)


@given(SETS)
@settings(max_examples=40)
def test_the_f1_of_slots_equals_that_of_scikit_learn(pairs):
    answers, references = (
        [[item in row for item in "abc"] for row in rows] for rows in zip(*pairs, strict=True)
    )
    texts = [
        [", ".join(f"{item}: 1" for item in sorted(row)) for row in rows] for rows in zip(*pairs, strict=True)
    ]
    expected = f1_score(np.array(references), np.array(answers), average="micro", zero_division=1)
    assert score(SlotF1, *texts) == pytest.approx(expected)
