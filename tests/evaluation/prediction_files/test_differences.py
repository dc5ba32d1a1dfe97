from audio_lm.evaluation.prediction_files.differences import NumberOfFile, difference, predictions_of
from audio_lm.evaluation.prediction_files.rows import FileBenchmark, FileRow, Official

CHOICES = ("Man", "Woman")


def line(*answers):
    rows = [FileRow(f"f:{n}", str(n), ("Man",), answer, CHOICES) for n, answer in enumerate(answers)]
    benchmark = FileBenchmark("b", rows, (Official("acc_mmau", leaves_out_missing=True),), ("acc_choice",))
    numbers = [NumberOfFile("acc_mmau", 0.0, 1, True), NumberOfFile("acc_choice", 0.0, 1, False)]
    return difference(benchmark, rows, numbers)


def test_rows_with_another_result_are_counted():
    assert line("Man", "A", None, "woman").startswith(
        "acc_mmau and acc_choice differ in 2 of 4 rows: the script"
    )
    assert line("Man", "woman") == "acc_mmau and acc_choice are equal in every row"


def test_a_missing_prediction_is_an_empty_answer():
    (prediction,) = predictions_of("b", [FileRow("f:1", "x", ("Man",), None)])
    assert (prediction.answer, prediction.choices) == ("", None)
