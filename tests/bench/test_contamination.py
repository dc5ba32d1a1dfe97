from audio_lm.bench.contamination import bench_contamination


def test_all_figures_are_measured():
    figures = bench_contamination(num_rows=600)
    assert (figures.rows, figures.planted, figures.found, figures.false_alarms) == (600, 3, 3, 0)
    assert min(figures.index_seconds, figures.first_seconds, figures.second_seconds) > 0
