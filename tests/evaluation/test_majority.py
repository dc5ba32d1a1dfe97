from audio_lm.evaluation.majority import BENCHMARK, Majority, is_of_labels, majority_of, with_answer
from audio_lm.evaluation.predict import Prediction
from audio_lm.evaluation.score import score_benchmark


def test_the_score_of_the_majority_answer_is_the_share_of_its_label():
    references = ["low", "high", "low", "middle", "low"]
    predictions = [Prediction(str(n), "mood", (text,), "?") for n, text in enumerate(references)]
    majority = majority_of(references, BENCHMARK)
    assert majority == Majority("low", BENCHMARK, 3, 5)
    assert score_benchmark(with_answer(predictions, majority.answer), ["acc"]) == {"acc": 0.6}


def test_of_equally_frequent_answers_the_order_of_the_clips_decides_nothing():
    assert majority_of(["b", "a"], BENCHMARK) == majority_of(["a", "b"], BENCHMARK)
    assert majority_of([], BENCHMARK) is None


def test_only_metrics_of_one_label_have_a_majority():
    assert is_of_labels(["wer", "acc(yes|no)"])
    assert not is_of_labels(["wer", "pitch_acc", "map", "bleu"])
