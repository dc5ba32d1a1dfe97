import numpy as np
import pytest
from scipy.stats import bootstrap as scipy_bootstrap

from audio_lm.common.errors import DataError, ProgramError
from audio_lm.metrics import bootstrap
from audio_lm.metrics.bootstrap import Answers, ClipResults, draws
from audio_lm.metrics.choices import ChoiceReference
from audio_lm.metrics.registry import METRICS, find_metric


def interval_of(row, clips, units, **options):
    return bootstrap.interval_of(ClipResults(row, clips), units, **options)


def difference_of(row, ours, others, units):
    return bootstrap.difference_of(ClipResults(row, ours), ClipResults(row, others), units)


def clips_of(num_right, num_clips, *, right="a", wrong="b"):
    answers = [right] * num_right + [wrong] * (num_clips - num_right)
    return Answers(answers, [right] * num_clips, ["en"] * num_clips)


def test_the_interval_of_an_accuracy_is_that_of_a_binomial():
    interval = interval_of(find_metric("acc"), clips_of(160, 200), range(200))
    deviation = (0.8 * 0.2 / 200) ** 0.5
    assert interval.value == 0.8
    assert interval.deviation == pytest.approx(deviation, rel=0.06)
    assert interval.low == pytest.approx(0.8 - 1.96 * deviation, abs=0.01)
    assert interval.high == pytest.approx(0.8 + 1.96 * deviation, abs=0.01)
    assert interval.detectable == pytest.approx(2.77 * interval.deviation, rel=0.01)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    clips = clips_of(30, 50)
    first, again, other = (interval_of(find_metric("acc"), clips, range(50), seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.deviation != other.deviation


def test_intervals_cover_the_true_value_in_about_95_of_100_samples():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(120):
        right = int(rng.binomial(80, 0.7))
        interval = interval_of(find_metric("acc"), clips_of(right, 80), range(80))
        covered += interval.low <= 0.7 <= interval.high
    assert 105 <= covered <= 120


def test_clips_of_one_speaker_are_drawn_together():
    counts = draws([clip // 2 for clip in range(24)], 50, seed=0)
    assert (counts[:, ::2] == counts[:, 1::2]).all()
    assert (counts.sum(1) == 24).all()


def test_of_a_few_speakers_the_clips_are_drawn_too():
    units = ["x"] * 30 + ["y"] * 50
    counts = draws(units, 400, seed=0)
    of_x = counts[:, :30].sum(1)
    assert set(of_x) == {0, 30, 60}, "speakers are drawn whole"
    assert (counts[of_x == 30][:, :30].std(1) > 0).all(), "and their clips within them"
    clips = Answers(["a"] * 15 + ["b"] * 15 + ["a"] * 25 + ["b"] * 25, ["a"] * 80, ["en"] * 80)
    interval = interval_of(find_metric("acc"), clips, units)
    assert interval.deviation > 0.03, "speakers of equal accuracy are no certainty"


def test_dependent_clips_make_the_interval_wider():
    clips = clips_of(100, 200)
    by_clip = interval_of(find_metric("acc"), clips, range(200))
    by_speaker = interval_of(find_metric("acc"), clips, [index // 20 for index in range(200)])
    assert by_speaker.deviation > 3 * by_clip.deviation
    assert by_speaker.num_units == 10
    assert not by_speaker.is_rough
    assert interval_of(find_metric("acc"), clips, [index // 50 for index in range(200)]).is_rough


def test_a_pair_is_compared_more_precisely_than_two_independent_scores():
    ours = Answers(["a"] * 60 + ["b"] * 40, ["a"] * 100, ["en"] * 100)
    others = Answers(["a"] * 57 + ["b"] * 43, ["a"] * 100, ["en"] * 100)
    found = difference_of(find_metric("acc"), ours, others, range(100))
    assert found.value == pytest.approx(0.03)
    assert found.deviation < 0.5 * interval_of(find_metric("acc"), ours, range(100)).deviation
    same = difference_of(find_metric("acc"), ours, ours, range(100))
    assert (same.low, same.value, same.high) == (0, 0, 0)
    assert same.has_zero


def test_a_metric_of_sums_and_a_metric_of_lists_resample_the_metric_itself():
    """The resampled value is that of the metric on the drawn clips."""
    texts = ["a b", "a c", "d", "a b c d", "c b"]
    clips = Answers(texts, ["a b", "c c", "d", "a b d d", "b"], ["en"] * 5)
    counts = draws(range(5), 1000, seed=0)
    for name in ("wer", "macro_f1", "map", "rouge_l", "bleu"):
        row = find_metric(name)
        values = ClipResults(row, clips).resampled(range(5))
        for resample in (0, 7):
            drawn = np.repeat(np.arange(5), counts[resample])
            metric = row.build(sync_on_compute=False)
            metric.update(
                [clips.answers[i] for i in drawn], [clips.references[i] for i in drawn], ["en"] * len(drawn)
            )
            assert values[resample] == pytest.approx(float(metric.compute())), name


@pytest.mark.parametrize("name", [name for name in METRICS if name not in ("ece", "auroc", "roc_eer")])
def test_every_metric_has_an_interval_or_says_why_not(name):
    answers, texts = ["yes", "no", "yes", "twenties"] * 5, ["yes", "no", "no", "thirties"] * 5
    options = ("yes", "no", "thirties")
    of_choices = [ChoiceReference(text, options, place) for place, text in enumerate(texts)]
    references = of_choices if find_metric(name).needs_choices else texts
    clips = Answers(answers, references, ["en"] * 20)
    try:
        interval = interval_of(find_metric(name), clips, range(20))
    except (DataError, ProgramError, ImportError):
        return
    assert interval is None or interval.low <= interval.high


def test_a_metric_that_is_undefined_for_most_resamples_has_no_interval():
    texts = ["yes", "no", *["it depends"] * 8]
    assert interval_of(find_metric("eer"), Answers(texts, texts, ["en"] * 10), range(10)) is None
    with pytest.raises(DataError, match="no reference is 'no'"):
        interval_of(find_metric("eer"), Answers(["yes"], ["yes"], ["en"]), range(1))


@pytest.mark.parametrize("seed", range(3))
def test_the_ends_of_an_interval_are_percentiles_and_its_deviation_is_that_of_a_mean(seed):
    """Two and a half per cent of the resamples are beyond each end; the deviation is the standard error in closed form."""
    rng = np.random.default_rng(seed)
    words = [" ".join(rng.choice(list("abcdef"), rng.integers(2, 9))) for _ in range(120)]
    clips = Answers(words, [*words[1:], words[0]], ["en"] * 120)
    results = ClipResults(find_metric("rouge_l"), clips)
    interval, values = bootstrap.interval_of(results, range(120)), results.resampled(range(120))
    for end, beyond in ((interval.low, values <= interval.low), (interval.high, values >= interval.high)):
        assert end in values
        assert beyond.sum() in (25, 26), "of 1000"
    assert interval.deviation == pytest.approx(np.std(results.each) / 120**0.5, rel=0.08)
    assert interval.value == pytest.approx(np.mean(results.each))


def test_the_deviation_is_that_of_scipy():
    rng = np.random.default_rng(0)
    right = rng.random(90) < 0.7
    clips = Answers(["a" if one else "b" for one in right], ["a"] * 90, ["en"] * 90)
    theirs = scipy_bootstrap((right.astype(float),), np.mean, n_resamples=4000, method="percentile", rng=1)
    ours = interval_of(find_metric("acc"), clips, range(90))
    assert ours.deviation == pytest.approx(theirs.standard_error, rel=0.08)
    assert (ours.low, ours.high) == pytest.approx(theirs.confidence_interval, abs=0.02)


def test_a_large_list_has_fewer_resamples_but_never_less_than_a_hundred(monkeypatch):
    clips = Answers(["a", "b"] * 30, ["a", "a"] * 30, ["en"] * 60)
    results = ClipResults(find_metric("macro_f1"), clips)
    numbers = []
    for most in (60_000, 60 * 300, 60):
        monkeypatch.setattr(bootstrap, "MAX_LIST_ITEMS", most)
        numbers.append(len(results.resampled(range(60))))
    assert numbers == [1000, 300, 100]
