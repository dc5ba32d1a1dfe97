from audio_lm.bench.closed import bench_closed


def test_closed_answers_are_measured_and_equal_constrained_decoding():
    figures = bench_closed(answers=4, answer_tokens=24, rounds=1)
    assert figures.equal_share == 1
    assert figures.milliseconds > 0
    assert figures.times_faster > 0
