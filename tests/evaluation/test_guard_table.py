from audio_lm.evaluation.config import BenchmarkConfig, GuardConfig
from audio_lm.evaluation.guard_table import guard_table

GUARD = GuardConfig(["digits"], "own/text-test")
BENCHMARKS = {"digits": BenchmarkConfig("a/b-test", "asr", ["wer"], "tags", "pretrain")}
STAGES = ["pretrain", "chat", "prefer"]


def test_every_model_has_a_row_and_later_ones_the_change():
    scores = {
        "digits/wer": 0.25,
        "guard/base/digits/wer": 1.0,
        "guard/chat/digits/wer": 0.5,
        "guard/prefer/digits/wer": 0.25,
        "guard/base/text/own/text-test/perplexity": 9.0,
        "guard/chat/text/own/text-test/perplexity": 12.0,
    }
    _, heading, *rows = guard_table(GUARD, BENCHMARKS, STAGES, scores)
    assert heading.split()[:1] == ["model"]
    assert [row.split() for row in rows] == [
        ["base", "1.000", "9.00"],
        ["pretrain", "0.250"],
        ["chat", "0.500", "(+0.250)", "12.00", "(+3.000)"],
        ["prefer", "0.250", "(+0.000)"],
    ]


def test_without_scores_there_is_no_table():
    assert guard_table(GUARD, BENCHMARKS, STAGES, {}) == []
