import pytest

from audio_lm.evaluation.listening import listening_lines
from audio_lm.evaluation.report import Row, Shadow


def row(metric, ours, *shadow, benchmark="sounds"):
    shadows = {"silence": Shadow(*shadow)} if shadow else {}
    return Row("pretrain", benchmark, "asr", metric, ours, shadows=shadows)


@pytest.mark.parametrize(
    ("metric", "ours", "shadow", "line"),
    [
        (
            "acc",
            0.9,
            (0.5, 0.35, 0.45),
            "the audio adds 40.0 points (35.0 to 45.0) to accuracy, 80% of the 50.0 that silence leaves",
        ),
        (
            "wer",
            0.05,
            (1.05, -1.1, -0.9),
            "the audio adds 100.0 points (90.0 to 110.0) to word error rate, 95% of the 105.0 that silence leaves",
        ),
        (
            "bleu",
            30.0,
            (5.0, 20.0, 28.0),
            "the audio adds 25.0 points (20.0 to 28.0) to BLEU, 26% of the 95.0 that silence leaves",
        ),
        ("cider_d", 0.5, (0.1, 0.3, 0.5), "the audio adds 40.0 points (30.0 to 50.0) to CIDEr-D"),
        ("acc", 1.0, (1.0, 0.0, 0.0), "the audio adds 0.0 points (0.0 to 0.0) to accuracy"),
    ],
)
def test_the_part_of_the_audio_is_given_with_the_most_that_is_possible(metric, ours, shadow, line):
    assert [*listening_lines([row(metric, ours, *shadow)])] == [f"sounds: {line}"]


def test_only_the_first_metric_of_a_benchmark_with_silence_has_a_line():
    rows = [
        row("acc", 0.9),
        row("aas", 60.0, 900.0, -900.0, -800.0, benchmark="stamps"),
        row("wer", 0.1, float("inf"), 0.0, 1.0, benchmark="infinite"),
        row("acc", 0.9, 0.1, 0.7, 0.9, benchmark="labels"),
        row("macro_f1", 0.8, 0.1, 0.6, 0.8, benchmark="labels"),
    ]
    assert [line.partition(":")[0] for line in listening_lines(rows)] == ["labels"]
