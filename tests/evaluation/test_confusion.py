import csv
import io

import numpy as np
from sklearn.metrics import confusion_matrix

from audio_lm.evaluation.confusion import MAX_LABELS, OTHER, RARE, confusion_table
from audio_lm.evaluation.predict import Prediction
from audio_lm.evaluation.score import score_benchmark


def predictions_of(pairs):
    return [
        Prediction(str(number), "sgc", (reference,), answer)
        for number, (reference, answer) in enumerate(pairs)
    ]


def random_pairs(num_labels, count):
    rng = np.random.default_rng(0)
    names = [f"label {number}" for number in range(num_labels)]
    return [
        tuple(rng.choice([*names, "nonsense"] if column else names) for column in (0, 1))
        for _ in range(count)
    ]


def test_the_table_is_that_of_scikit_learn_and_its_diagonal_gives_the_accuracy():
    pairs = random_pairs(4, 200)
    predictions = predictions_of(pairs)
    table = confusion_table(predictions, ["acc"])
    expected = confusion_matrix(*zip(*pairs, strict=True), labels=[*table.labels, "nonsense"])
    assert np.array_equal(table.counts, expected[:-1])
    assert table.answers == (*table.labels, OTHER)
    accuracy = sum(row[index] for index, row in enumerate(table.counts)) / 200
    assert score_benchmark(predictions, ["acc"])["acc"] == accuracy


def test_the_most_frequent_label_is_first():
    table = confusion_table(
        predictions_of([("b", "b"), ("a", "a"), ("a", "b"), ("a", "a"), ("b", "a")]), ["acc"]
    )
    assert table.labels == table.answers == ("a", "b")
    assert table.counts == ((2, 1), (1, 1))


def test_labels_beyond_the_limit_are_one_row():
    pairs = [(str(number), str(number)) for number in range(MAX_LABELS + 10) for _ in range(2)]
    table = confusion_table(predictions_of(pairs), ["acc"])
    assert len(table.labels) == MAX_LABELS
    assert table.labels[-1] == RARE
    assert sum(map(sum, table.counts)) == len(pairs), "no clip is lost"


def test_texts_and_several_references_have_no_table():
    assert confusion_table(predictions_of([("a b", "a"), ("c d", "c")]), ["wer"]) is None
    assert confusion_table(predictions_of([("one", "one"), ("two", "two"), ("three", "x")]), ["acc"]) is None
    several = [Prediction(str(number), "aqa", ("yes", "yeah"), "yes") for number in range(4)]
    assert confusion_table(several, ["acc"]) is None


def test_labels_are_normalized_as_their_metric_compares_them():
    pairs = [("gender: Female.", "female"), ("gender: Female.", "gender: female")]
    assert confusion_table(predictions_of(pairs), ["acc_loose"]).counts == ((2,),)
    assert confusion_table(predictions_of(pairs), ["acc"]).counts == ((0, 2),)


def test_the_csv_keeps_commas_and_line_breaks_of_labels():
    pairs = [("a, b", "a, b"), ('c\n"d"', "a, b")] * 2
    rows = list(csv.reader(io.StringIO(confusion_table(predictions_of(pairs), ["acc"]).as_csv())))
    assert rows == [
        ["reference", "a, b", 'c\n"d"', "clips"],
        ["a, b", "2", "0", "2"],
        ['c\n"d"', "2", "0", "2"],
    ]
