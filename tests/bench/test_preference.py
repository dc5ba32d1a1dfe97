from audio_lm.bench.preference import bench_preference
from tests.conftest import TINY


def test_shared_audio_has_the_same_gradients_and_takes_less_time():
    figures = bench_preference(TINY, pairs=3, rounds=2, num_ids=300)
    assert figures.gradient_difference < 1e-4
    assert figures.ratio > 1
    assert figures.audio_s > 0
